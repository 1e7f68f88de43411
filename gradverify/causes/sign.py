"""The gradient has the wrong sign."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import elsewhere, pair
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement

SUGGESTION = "change the sign: d(y - t)/dt is -1, and a loss that is minimised is not one that is maximised"


@registry.cause("sign")
def sign(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is the wanted one with the opposite sign, in every entry."""
    p = pair(m, ev)
    if p is None or not p.alike or not np.any(p.signal):
        return played_through(m, ev, "sign", SUGGESTION)
    if not p.is_(-p.want):
        return played_through(m, ev, "sign", SUGGESTION)
    n = int(np.sum(p.signal))
    return Cause(
        name="sign",
        evidence=f"got / want = -1 in all {n} entries{elsewhere(ev, p, -1.0)}",
        suggestion=SUGGESTION,
        confidence=0.95 if n > 1 else 0.75,
    )
