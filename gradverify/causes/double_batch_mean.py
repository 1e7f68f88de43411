"""The 1/B of a mean is applied twice."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import batch_sizes, elsewhere, number, pair
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("double-batch-mean")
def double_batch_mean(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is too small by exactly the batch size: divided once in the delta and once more in the layer."""
    p = pair(m, ev)
    if p is None or not p.alike or not np.any(p.signal):
        return None
    n = int(np.sum(p.signal))
    for b, where in batch_sizes(ev).items():
        factor = 1.0 / b
        if p.is_(factor * p.want, factor):
            return Cause(
                name="double-batch-mean",
                evidence=f"got / want = {number(factor)} in all {n} entries; the batch size is {b} ({where})"
                f"{elsewhere(ev, p, factor)}",
                suggestion="divide by the batch size in one place only: in the loss (delta) or in "
                "the layers (dW, db), not in both",
                confidence=_confidence(b, n, ev),
            )
    return None


def _confidence(b: int, n: int, ev: Evidence) -> float:
    """A factor of two may be anything, unless the case says which axis is the batch."""
    if b == 2 and "batch_axis" not in ev.case.attrs:
        return 0.6
    return 0.93 if n > 1 else 0.75
