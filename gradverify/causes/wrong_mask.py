"""The mask of a kinked activation is another one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair
from gradverify.causes._tools import candidates, pair
from gradverify.causes._what_if import played_through
from gradverify.types import Array, Cause, Evidence, Measurement, leaves

SUGGESTION = "keep the mask of the forward's own input, x > 0, before anything overwrites it"


@registry.cause("wrong-mask")
def wrong_mask(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is upstream times a mask, but not the mask of the forward."""
    found = played_through(m, ev, "wrong-mask", SUGGESTION)
    p = pair(m, ev)
    if p is None or not p.alike or p.got.size < 3 or (found is not None and found.confidence > 0.9):
        return found
    return _upstreams(p, ev) or _factor(p, ev) or found or _zeros(p) or _other_zeros(p)


def _upstreams(p: Pair, ev: Evidence) -> Cause | None:
    """Upstream times the mask of something in sight."""
    for k, v in leaves(ev.upstream).items():
        u = np.asarray(v, dtype=float)
        if u.shape != p.got.shape:
            continue
        for words, mask in _masks(p.name, u, k, ev):
            if p.is_(u * mask) and np.any(mask) and not np.all(mask):
                return Cause(
                    name="wrong-mask",
                    evidence=f"got is upstream * ({words}) in all {p.got.size} entries; want is not "
                    f"in {int(np.sum(p.wrong))}",
                    suggestion=SUGGESTION,
                    confidence=0.95,
                )
    return None


def _factor(p: Pair, ev: Evidence) -> Cause | None:
    """A mask in scope that got is multiplied by and want is not, or the other way round."""
    for words, mask in candidates(ev, p.want.shape):
        if not np.all((mask == 0) | (mask == 1)) or np.all(mask == 1) or not np.any(mask):
            continue
        if p.is_(p.want * mask):
            return _cause(f"got = want * {words} in all {p.got.size} entries: a mask too many", 0.9)
        if np.any(p.signal) and np.all(np.abs(p.got * mask - p.want) <= p.tol):
            return _cause(f"want = got * {words} in all {p.got.size} entries: the mask is not applied", 0.93)
    return None


def _zeros(p: Pair) -> Cause | None:
    """Right wherever the derivative is not exactly zero, and something where it is."""
    if not np.any(p.want) or np.any(p.want[p.wrong]) or np.any(p.got[~p.wrong] == 0) or not np.any(p.signal):
        return None
    n = int(np.sum(p.wrong))
    return _cause(f"all {n} wrong entries are exactly 0 in the derivative; the {p.got.size - n} others are right", 0.8)


def _other_zeros(p: Pair) -> Cause | None:
    """Got and want agree wherever both are something: one mask for another."""
    a, b = p.got == 0, p.want == 0
    lost, extra = p.wrong & a & ~b, p.wrong & b & ~a
    both = ~a & ~b & p.signal
    if np.all(np.abs(np.sort(p.got, axis=None) - np.sort(p.want, axis=None)) <= np.max(p.tol)):
        return None  # the same numbers elsewhere
    if not (np.any(lost) and np.any(extra) and np.sum(both) > 1 and np.array_equal(p.wrong, lost | extra)):
        return None
    return _cause(
        f"got is 0 in {int(np.sum(lost))} entries where want is not, want is 0 in {int(np.sum(extra))} where got is "
        f"not, and the other {int(np.sum(~p.wrong))} are right: another mask",
        0.85,
    )


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(name="wrong-mask", evidence=evidence, suggestion=SUGGESTION, confidence=confidence)


def _masks(name: str, upstream: Array, leaf: str, ev: Evidence) -> Iterator[tuple[str, Array]]:
    arrays = {"upstream": upstream, "out": np.asarray(leaves(ev.out)[leaf], dtype=float)}
    if name in ev.case.primals:
        arrays[name] = np.asarray(ev.case.primals[name], dtype=float)
    for k, v in arrays.items():
        if v.shape == upstream.shape:
            yield from (
                (f"{k} > 0", v > 0),
                (f"{k} < 0", v < 0),
                (f"{k} <= 0", v <= 0),
                (f"{k} > 1", v > 1),
                (f"{k} < 1", v < 1),
            )
