"""The gradient is off by a constant factor."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement

import numpy as np

from gradverify import registry
from gradverify.causes._tools import elsewhere, lengths, number, pair
from gradverify.causes._what_if import better, played_through
from gradverify.types import Array, Cause, Evidence, Measurement

COARSE = 1e-4  #: what a factor must be uncertain by before it is taken for a round one
NICE = frozenset({"2", "1/2", "4", "1/4", "3", "1/3"})


SUGGESTION = "look for a forgotten 1/2, a mean that is a sum, or a factor applied twice"


@registry.cause("scale")
def scale(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is the wanted one times one factor in every entry; shapes that explain the factor are named."""
    return better(_itself(m, ev), played_through(m, ev, "scale", SUGGESTION)) or _by_slice(m, ev) or _clipped(m, ev)


def _itself(m: Measurement, ev: Evidence) -> Cause | None:
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    clear = p.signal
    n = int(np.sum(clear))
    if not n:
        return None
    c = float(np.sum(p.got[clear] * p.want[clear]) / np.sum(p.want[clear] ** 2))
    c = _rounded(c, float(np.linalg.norm(p.tol[clear]) / np.linalg.norm(p.want[clear])))
    if not c or not np.isfinite(c) or not p.is_(c * p.want, 4 * max(1.0, abs(c))):
        return None
    meaning = _meaning(c, ev)
    if n < 3 and not meaning and number(abs(c)) not in NICE:
        return None
    return Cause(
        name="scale",
        evidence=f"got / want = {number(c)} in all {n} entries{meaning}{elsewhere(ev, p, c)}",
        suggestion=f"divide by {number(c)}: look for a forgotten 1/2, a mean that is a sum, or a factor applied twice",
        confidence=(0.7 if meaning or number(abs(c)) in NICE else 0.6) - (0.2 if n < 3 else 0.0),
    )


def _rounded(c: float, doubt: float) -> float:
    """The round factor that coarse arithmetic cannot tell from ``c``; ``c`` itself where it is known well."""
    if COARSE < doubt < 0.2:
        for nice in (2.0, 0.5, 4.0, 0.25, 3.0, 1 / 3):
            if abs(c - nice) <= doubt * nice:
                return nice
    return c


def _by_slice(m: Measurement, ev: Evidence) -> Cause | None:
    """One factor for every index along one axis: a weight per class or sample, a count, an epsilon."""
    p = pair(m, ev)
    if p is None or not p.alike or p.got.ndim < 2:
        return None
    for axes in (c for k in range(1, p.want.ndim) for c in combinations(range(p.want.ndim), k)):
        first = range(len(axes))
        n = int(np.prod([p.want.shape[a] for a in axes]))
        got, want, tol = (np.moveaxis(a, axes, first).reshape(n, -1) for a in (p.got, p.want, p.tol))
        clear = np.abs(want) > 8 * tol
        top = np.sum(np.where(clear, got * want, 0.0), axis=1)
        below = np.sum(np.where(clear, want * want, 0.0), axis=1)
        said = np.sum(clear, axis=1) > 1
        if np.sum(said) < 2 or not np.array_equal(said, np.any(clear, axis=1)):
            continue
        factors = np.divide(top, below, out=np.ones(n), where=below > 0)
        near = np.abs(got - factors[:, None] * want) <= tol * np.maximum(1.0, np.abs(factors))[:, None]
        if not np.all(near) or np.ptp(factors[said]) == 0 or _parallel(want[said], tol[said]):
            continue
        of = " and ".join(map(str, axes))
        low, high = float(np.min(factors[said])), float(np.max(factors[said]))
        return Cause(
            name="scale",
            evidence=f"got / want is one number for every index of axis {of}, between {low:.6g} and {high:.6g}"
            f"{_by_what(factors, said, ev)}, in all {got.size} entries",
            suggestion="look for a weight, a count or an epsilon that forward has and backward has not, or has twice",
            confidence=0.7,
        )
    return None


def _parallel(rows: Array, tol: Array) -> bool:
    """All rows are multiples of one: then any wrong delta gives one number per row, and it says nothing."""
    base = rows[int(np.argmax(np.sum(rows * rows, axis=1)))]
    weights = rows @ base / np.sum(base * base)
    return bool(np.all(np.abs(rows - weights[:, None] * base) <= 4 * tol + 1e-12 * np.abs(rows)))


def _clipped(m: Measurement, ev: Evidence) -> Cause | None:
    """Backward clips what it returns: wrong entries stand at one bound with the sign of what they should be."""
    p = pair(m, ev)
    if p is None or not p.alike or np.sum(p.wrong) < 2 or (np.all(p.wrong) and p.got.size < 4):
        return None
    got, want = p.got[p.wrong], p.want[p.wrong]
    bound = float(np.max(np.abs(p.got)))
    if np.all(np.abs(got) == bound) and np.all(np.sign(got) == np.sign(want)) and np.all(np.abs(want) > bound):
        return Cause(
            name="scale",
            evidence=f"all {got.size} wrong entries are {bound:.6g} or {-bound:.6g}, where want is beyond; the other "
            f"{p.got.size - got.size} are smaller and right: the gradient is clipped",
            suggestion="clip between backward and the update, not within backward",
            confidence=0.9,
        )
    return None


def _by_what(factors: Array, said: Array, ev: Evidence) -> str:
    """An array in scope that the factors are a multiple of: " (1/7 of w)", " (2 / gamma)"."""
    vectors = {
        k: np.asarray(v) for k, v in {**ev.case.constants, **ev.case.primals}.items() if isinstance(v, np.ndarray)
    }
    for name, v in vectors.items():
        if v.size != factors.size or v.dtype.kind not in "fiu":
            continue
        value = v.astype(float).ravel()
        for words, ratio in ((f" * {name}", value), (f" / {name}", 1 / np.where(value, value, np.nan))):
            c = factors[said] / np.where(ratio[said], ratio[said], np.nan)
            if np.all(np.abs(c - c[0]) <= 1e-9 * np.abs(c[0])):
                return f" ({number(float(c[0]))}{words})"
    if np.max(np.abs(factors[said] - 1)) < 0.1 and (np.all(factors[said] > 1) or np.all(factors[said] < 1)):
        return " (all a little to the same side of 1, as of an epsilon)"
    return ""


def _meaning(c: float, ev: Evidence) -> str:
    """Which lengths in sight make up the factor: "; 15 = 5 (axis 0 of x) * 3 (axis 1 of the output)"."""
    known = dict(sorted(lengths(ev).items()))
    for target in (abs(c), 1 / abs(c)):
        for n, where in known.items():
            if abs(target - n) < 1e-9 * n:
                return f"; {n} is the length of {where}"
        for a, b in combinations_with_replacement(known, 2):
            if abs(target - a * b) < 1e-9 * a * b:
                return f"; {a * b} = {a} ({known[a]}) * {b} ({known[b]})"
    return ""
