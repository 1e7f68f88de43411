"""The difference is hardly more than rounding."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("noise")
def noise(m: Measurement, ev: Evidence) -> Cause | None:
    """The difference is within a few dozen budgets and follows no pattern."""
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    over = float(np.max(np.abs(p.got - p.want) / np.maximum(p.tol, np.finfo(float).tiny)))
    if not over < 50:
        return None
    return Cause(
        name="noise",
        evidence=f"the largest difference is {over:.1f} times what rounding and the oracle's error allow",
        suggestion="look for cancellation in backward (1 - s near s = 1, a - b of nearly equal "
        "numbers), or use a wider type",
        confidence=0.2,
    )
