"""Gradients add up from call to call."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.types import Array, Cause, Evidence, Measurement


@registry.cause("accumulated")
def accumulated(m: Measurement, ev: Evidence) -> Cause | None:
    """A repeated call gives a multiple of the first: the gradient is added to what is already there."""
    if (
        ev.check not in ("second-call-equal", "deterministic")
        or m.got.shape != m.want.value.shape
        or not np.any(m.want.value)
    ):
        return None
    for k in (2, 3, 4):
        if np.all(np.abs(m.got - k * m.want.value) <= k * _slack(m)):
            return Cause(
                name="accumulated",
                evidence=f"{m.of}: got is {k} times the gradient of the first call in all {m.got.size} entries",
                suggestion="assign (=) in backward, or set the gradient to zero before it; "
                "accumulate only where the API says so",
                confidence=0.95,
            )
    return None


def _slack(m: Measurement) -> Array:
    """The allowed difference; a few roundings where none is allowed."""
    return np.asarray(np.maximum(np.asarray(m.rounding, dtype=float), 1e-13 * np.max(np.abs(m.want.value))))
