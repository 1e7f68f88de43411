"""The right numbers in the wrong places."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair
from gradverify.causes._tools import pair, pairs
from gradverify.causes._what_if import better, played_through
from gradverify.types import Cause, Evidence, Measurement, leaves

SUGGESTION = "check the order in which gradients are returned, axes are moved and flipped, and loops run backwards"


@registry.cause("permuted")
def permuted(m: Measurement, ev: Evidence) -> Cause | None:
    """The entries of the gradient are those wanted in another order, or those of another primal."""
    return better(_itself(m, ev), played_through(m, ev, "permuted", SUGGESTION))


def _itself(m: Measurement, ev: Evidence) -> Cause | None:
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    for name, q in pairs(ev).items():
        if name != p.name and q.want.shape == p.want.shape and np.any(q.signal) and p.is_(q.want):
            back = q.alike and q.is_(p.want)
            return _cause(
                f"the gradient of {p.name} is the one wanted for {name}"
                + (", and the other way round: they are swapped" if back else ""),
                0.94 if back else 0.85,
            )
    if (words := _repeated(p, ev)) is not None:
        return _cause(words, 0.9)
    if int(np.sum(p.signal)) < 3 or np.ptp(p.want) <= 8 * np.max(p.tol):
        return None
    for axis in range(p.want.ndim):
        if p.is_(np.flip(p.want, axis)):
            return _cause(f"got is want reversed along axis {axis}", 0.9)
        for shift in range(1, min(p.want.shape[axis], 8)):
            for s in (shift, -shift):
                if p.is_(np.roll(p.want, s, axis)):
                    return _cause(f"got is want shifted by {s} along axis {axis}", 0.9)
    if p.is_(p.want.ravel()[::-1].reshape(p.want.shape)):
        return _cause("got is want read backwards", 0.9)
    most = float(np.max(p.tol))
    same_sum = abs(float(np.sum(p.got) - np.sum(p.want))) <= 2 * p.got.size * most
    if same_sum and np.all(np.abs(np.sort(p.got, axis=None) - np.sort(p.want, axis=None)) <= most):
        return _cause(f"the {p.got.size} numbers of got are those of want in another order", 0.75)
    return None


def _repeated(p: Pair, ev: Evidence) -> str | None:
    """The upstream of a tile, summed as if it were that of a repetition, or the other way round."""
    for v in leaves(ev.upstream).values():
        u = np.asarray(v, dtype=float)
        n = p.want.ndim
        if (
            u.ndim != n
            or not n
            or u.size <= p.want.size
            or any(a % b for a, b in zip(u.shape, p.want.shape, strict=True))
        ):
            continue
        times = [a // b for a, b in zip(u.shape, p.want.shape, strict=True)]
        sums = {}
        for which in ("tile", "repetition"):
            pairs_ = zip(times, p.want.shape, strict=True)
            split = [k for t, s in pairs_ for k in ((t, s) if which == "tile" else (s, t))]
            sums[which] = u.reshape(split).sum(axis=tuple(range(0 if which == "tile" else 1, 2 * n, 2)))
        for right, wrong in (("tile", "repetition"), ("repetition", "tile")):
            if np.all(np.abs(sums[right] - p.want) <= 4 * p.tol) and p.is_(sums[wrong], 4.0):
                return f"got sums the upstream as that of a {wrong}; want is that of a {right}"
    return None


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="permuted",
        evidence=evidence,
        suggestion=SUGGESTION,
        confidence=confidence,
    )
