"""The derivative of an activation is left out."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement, leaves

SUGGESTION = "multiply by the derivative of the activation at its own input: delta = (W.T @ delta_next) * act'(z)"


@registry.cause("missing-activation-derivative")
def missing_activation_derivative(m: Measurement, ev: Evidence) -> Cause | None:
    """Leaving out the derivative of one activation gives exactly this gradient."""
    found = played_through(m, ev, "missing-activation-derivative", SUGGESTION)
    p = pair(m, ev)
    if found is not None or p is None or not p.alike or p.got.size < 3:
        return found
    for k, u in leaves(ev.upstream).items():
        if np.shape(u) == p.got.shape and np.ptp(p.got) > 0 and p.is_(np.asarray(u, dtype=float)):
            return Cause(
                name="missing-activation-derivative",
                evidence=f"the gradient of {p.name} is the upstream {k} itself in all {p.got.size} entries".replace(
                    "  ", " "
                ),
                suggestion=SUGGESTION,
                confidence=0.85,
            )
    return None
