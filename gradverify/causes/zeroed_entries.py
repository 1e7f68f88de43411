"""Some entries are zero."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.types import Array, Cause, Evidence, Measurement


@registry.cause("zeroed-entries")
def zeroed_entries(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is right except where it is exactly zero and should not be."""
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    zero = (p.got == 0) & p.signal
    if not np.any(zero) or not np.array_equal(zero, p.wrong) or not np.any(p.signal & ~zero):
        return None
    where = np.argwhere(zero)
    return Cause(
        name="zeroed-entries",
        evidence=f"{len(where)} of {p.got.size} entries are exactly 0{_structure(where, zero)}, all others are right",
        suggestion="look for a loop that ends early, a mask, or a buffer that is only partly written",
        confidence=0.9,
    )


def _structure(where: Array, zero: Array) -> str:
    """In words: all of an index where the zeros fill one index of an axis, else the first of them."""
    for axis in range(zero.ndim):
        index = np.unique(where[:, axis])
        if zero.ndim > 1 and len(where) == len(index) * zero.size // zero.shape[axis]:
            return f" (all of index {', '.join(str(int(i)) for i in index[:5])} along axis {axis})"
    return f" (the first at {[int(i) for i in where[0]]})"
