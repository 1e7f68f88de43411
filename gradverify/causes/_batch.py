"""A gradient that is off by the batch size, one way or the other."""

from __future__ import annotations

import numpy as np

from gradverify.causes._tools import batch_sizes, elsewhere, number, pair
from gradverify.types import Cause, Evidence, Measurement


def off_by_batch(m: Measurement, ev: Evidence, name: str, power: int, suggestion: str) -> Cause | None:
    """The cause ``name`` if got / want is a batch size to the ``power`` 1 or -1 in every entry."""
    p = pair(m, ev)
    if p is None or not p.alike or not np.any(p.signal):
        return None
    n = int(np.sum(p.signal))
    for b, where in batch_sizes(ev, m).items():
        factor = float(b) ** power
        if p.is_(factor * p.want, factor):
            return Cause(
                name=name,
                evidence=f"got / want = {number(factor)} in all {n} entries; the batch size is {b} ({where})"
                f"{elsewhere(ev, p, factor)}",
                suggestion=suggestion,
                confidence=_confidence(b, n, ev),
            )
    return None


def _confidence(b: int, n: int, ev: Evidence) -> float:
    """A factor of two may be anything, unless the case says which axis is the batch."""
    if b == 2 and "batch_axis" not in ev.case.attrs:
        return 0.6
    return 0.93 if n > 1 else 0.75
