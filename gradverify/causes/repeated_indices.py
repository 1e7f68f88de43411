"""Repeated indices overwrite each other."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair
from gradverify.causes._tools import pair
from gradverify.causes._what_if import played_through
from gradverify.types import Array, Cause, Evidence, Measurement, leaves

SUGGESTION = "add the contributions: np.add.at(grad, index, u), not grad[index] = u or grad[index] += u"


@registry.cause("repeated-indices")
def repeated_indices(m: Measurement, ev: Evidence) -> Cause | None:
    """Rows that are looked up more than once are wrong: = where += is meant."""
    return played_through(m, ev, "repeated-indices", SUGGESTION) or _itself(m, ev)


def _itself(m: Measurement, ev: Evidence) -> Cause | None:
    p = pair(m, ev)
    if p is None or not p.alike or not p.want.ndim:
        return None
    rows = np.any(p.wrong.reshape(len(p.want), -1), axis=1)
    for name, index in {**dict(ev.case.constants), **dict(ev.case.primals)}.items():
        if (
            not isinstance(index, np.ndarray)
            or index.dtype.kind not in "iu"
            or not index.size
            or index.max() >= len(p.want)
        ):
            continue
        times = np.bincount(index.ravel() % len(p.want), minlength=len(p.want))
        if np.any(times == 1) and np.array_equal(rows, times > 1):
            worst = int(np.flatnonzero(rows)[0])
            return Cause(
                name="repeated-indices",
                evidence=f"only rows {', '.join(map(str, np.flatnonzero(rows)[:5]))} of {p.name} are "
                f"wrong, and {name} has each of "
                f"them more than once (row {worst}: {times[worst]} times)",
                suggestion=SUGGESTION,
                confidence=0.94 if _last(p, index, ev) else 0.5,
            )
    return _overwritten(p, ev)


def _overwritten(p: Pair, ev: Evidence) -> Cause | None:
    """What is written to an index that is written again later has no effect, and its gradient is zero."""
    for name, index in {**dict(ev.case.constants), **dict(ev.case.primals)}.items():
        if not isinstance(index, np.ndarray) or index.dtype.kind not in "iu" or index.shape != p.want.shape[:1]:
            continue
        later = np.array([i in index[k + 1 :] for k, i in enumerate(index)]) if index.size <= 10_000 else np.zeros(1)
        rows = np.any(p.wrong.reshape(len(p.want), -1), axis=1)
        if np.any(later) and np.array_equal(rows, later) and not np.any(p.want[rows]):
            return Cause(
                name="repeated-indices",
                evidence=f"only rows {', '.join(map(str, np.flatnonzero(rows)[:5]))} of {p.name} are wrong: {name} "
                "names their place again later, so that they are overwritten and their gradient is 0",
                suggestion="of several writes to one place only the last has a gradient",
                confidence=0.94,
            )
    return None


def _last(p: Pair, index: Array, ev: Evidence) -> bool:
    """Whether every wrong row is what its last contribution alone leaves there."""
    for u in leaves(ev.upstream).values():
        if np.shape(u) == index.shape + p.want.shape[1:]:
            left = np.array(p.want, dtype=float)
            left[index] = u
            return p.is_(left)
    return False
