"""The weights are updated before they are used."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._pair import proportional
from gradverify.causes._tools import experiment, pair
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("updated-weights")
def updated_weights(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is the wanted one at weights that have already taken their step."""
    p = pair(m, ev)
    if p is None or not p.alike or proportional(p.got, p.want, p.tol) is not None:
        return None  # a factor says it in simpler words, and needs no run
    for name, want in ev.want.items():
        if name == p.name or name not in ev.case.primals or want.value.shape != ev.case.primals[name].shape:
            continue
        moved = experiment(ev, {name: ev.case.primals[name] - 0.5 * want.value})
        g = None if moved is None else moved.get(p.name)
        if g is None or np.shape(g) != p.got.shape:
            continue
        c = proportional(p.got - p.want, 2.0 * (np.asarray(g) - p.got), 4 * p.tol)
        if c is not None and c > 0:
            return Cause(
                name="updated-weights",
                evidence=f"got - want is what a step of {c:.6g} along the gradient of {name} does "
                f"to it, in all {p.got.size} entries",
                suggestion=f"compute every gradient with the old {name}, and update afterwards",
                confidence=0.93,
            )
    return None
