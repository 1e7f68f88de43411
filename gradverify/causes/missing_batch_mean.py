"""The 1/B of a mean is missing."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import batch_sizes, elsewhere, number, pair
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("missing-batch-mean")
def missing_batch_mean(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is too large by exactly the batch size: the loss is a mean, its gradient a sum."""
    p = pair(m, ev)
    if p is None or not p.alike or not np.any(p.signal):
        return None
    n = int(np.sum(p.signal))
    for b, where in batch_sizes(ev).items():
        factor = float(b)
        if p.is_(factor * p.want, factor):
            return Cause(
                name="missing-batch-mean",
                evidence=f"got / want = {number(factor)} in all {n} entries; the batch size is {b} ({where})"
                f"{elsewhere(ev, p, factor)}",
                suggestion="divide the gradient by the batch size, once: where the loss is a mean, "
                "its delta is (p - y) / B",
                confidence=_confidence(b, n, ev),
            )
    return None


def _confidence(b: int, n: int, ev: Evidence) -> float:
    """A factor of two may be anything, unless the case says which axis is the batch."""
    if b == 2 and "batch_axis" not in ev.case.attrs:
        return 0.6
    return 0.93 if n > 1 else 0.75
