"""Some entries are zero."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.types import Array, Cause, Evidence, Measurement

SUGGESTION = "look for a loop that ends early, a mask, or a buffer that is only partly written"


@registry.cause("zeroed-entries")
def zeroed_entries(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is right except where it is exactly zero and should not be."""
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    zero = (p.got == 0) & p.signal
    if np.all(zero) and np.any(ev.got.get(p.name.removeprefix("gradient of "), p.got)):
        return Cause(
            name="zeroed-entries",
            evidence=f"{_entries(m, p.got.size)} exactly 0, others of this gradient are not",
            suggestion=SUGGESTION,
            confidence=0.9,
        )
    if not np.any(zero) or not np.array_equal(zero, p.wrong) or not np.any(p.signal & ~zero):
        return None
    where = np.argwhere(zero)
    return Cause(
        name="zeroed-entries",
        evidence=f"{len(where)} of {p.got.size} entries are exactly 0{_structure(where, zero)}, all others are right",
        suggestion=SUGGESTION,
        confidence=0.9,
    )


def _entries(m: Measurement, n: int) -> str:
    """The entries that a search led to: "the entry at [17, 33] is", "all entries looked at (2; diagonal 0) are"."""
    if n == 1 and m.facts.get("entries"):
        return f"the entry at {[int(i) for i in m.facts['entries'][0]]} is"
    where = m.facts.get("where")
    return f"all entries that were looked at ({n}{f'; {where}' if where else ''}) are"


def _structure(where: Array, zero: Array) -> str:
    """In words: all of an index where the zeros fill one index of an axis, else the first of them."""
    for axis in range(zero.ndim):
        index = np.unique(where[:, axis])
        if zero.ndim > 1 and len(where) == len(index) * zero.size // zero.shape[axis]:
            return f" (all of index {', '.join(str(int(i)) for i in index[:5])} along axis {axis})"
    return f" (the first at {[int(i) for i in where[0]]})"
