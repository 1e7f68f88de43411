"""The only module that knows a tolerance: a measurement in, a verdict with its reason out.

FAIL          not (gap <= oracle error + rounding of the implementation), NaN included
INCONCLUSIVE  the oracle does not know somewhere, or knows less well than was asked, and nothing fails
PASS          states its resolution: the smallest error that this comparison would have seen

Budgets come from the dtype and from measured rounding, never from the number of entries; a tolerance of 0 means 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradverify.directions import BLOCK, blocks
from gradverify.tally import Columns, Tally, counted, fails, largest
from gradverify.types import Array, Measurement, Verdict

#: rounding this large against the terms of a gradient, and as large as the gradient, leaves nothing to judge;
#: below it the gradient is zero to within its rounding
SWAMPED = 1e-6
#: beside the terms that cancel in it a gradient this small is zero; so many roundings of these terms are what is left
ZERO, LEFT = 1e-12, 16.0


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The verdict on one measurement and the numbers behind it; the fields are those of a Finding."""

    verdict: Verdict
    why: str = ""
    n_compared: int = 0
    n_wrong: int = 0
    index: tuple[int, ...] | None = None
    got: float | None = None
    want: float | None = None
    want_error: float | None = None
    gap: float | None = None
    budget: float | None = None
    resolution: float | None = None


def judge(m: Measurement, tolerance: float | None = None) -> Judgement:
    """Judge one measurement.

    tolerance  the user's own, relative to the largest magnitude in the array, in place of the rounding budget
    """
    got, want = np.asarray(m.got), np.asarray(m.want.value)
    if got.shape != want.shape:
        return Judgement(
            verdict=Verdict.FAIL, why=m.why or f"shape {got.shape}, wanted {want.shape}", n_compared=1, n_wrong=1
        )
    if got.size == 0:
        return Judgement(verdict=Verdict.SKIPPED, why="nothing to compare: the array is empty")
    scale = _scale(m)
    asked = m.ask * scale
    columns = Columns.of(
        got, want, m.want.error, m.rounding if tolerance is None else tolerance * scale, m.lower, m.upper
    )
    tally = Tally(counted(columns, part, asked) for part in blocks(got.size))
    at = tuple(int(i) for i in np.unravel_index(tally.worst, got.shape))
    common: dict[str, Any] = {
        "n_compared": tally.known,
        "index": at,
        "got": _real(got[at]),
        "want": _real(want[at]),
        "want_error": float(m.want.error[at]),
        "gap": tally.gap,
        "budget": float(columns.budget[tally.worst]),
        "resolution": _resolution(tally.allowed, scale),
    }
    if tally.wrong:
        return Judgement(verdict=Verdict.FAIL, n_wrong=tally.wrong, why=_wrong(m, tally, at), **common)
    if tally.vague:
        return Judgement(verdict=Verdict.INCONCLUSIVE, why=_vague(tally, got.size, asked), **common)
    cancelled = LEFT * m.eps if largest(want) <= ZERO * m.natural else 0.0
    if m.natural > 0 and tally.budget > max(0.3 * scale, max(SWAMPED, cancelled) * m.natural):
        why = f"the implementation's own rounding ({tally.budget:.1e}) is as large as the gradient ({scale:.1e})"
        return Judgement(verdict=Verdict.INCONCLUSIVE, why=why, **common)
    return Judgement(verdict=Verdict.PASS, **common)


def as_judged(m: Measurement) -> Callable[[Array], bool]:
    """For a measurement that passes: would it with another gradient of the same shape in the place of its own."""
    columns = Columns.of(np.asarray(m.got), np.asarray(m.want.value), m.want.error, m.rounding, m.lower, m.upper)
    if columns.lower is None and columns.want.size <= BLOCK and np.isfinite(columns.want).all():
        allowed = columns.error + columns.budget  # NaN and infinities compare as they should: not within
        return lambda got: bool((np.abs(np.reshape(got, -1) - columns.want) <= allowed).all())
    return lambda got: not fails(replace(columns, got=np.reshape(got, -1)))


def _wrong(m: Measurement, tally: Tally, at: tuple[int, ...]) -> str:
    """The sentence of a fail."""
    if m.why:
        return m.why
    got = np.asarray(m.got)
    noun = "entry" if got.size == 1 else "entries"
    why = f"{tally.wrong} of {got.size} {noun} outside the budget"
    if not np.isfinite(got[at]):
        why = f"{tally.infinite} of {got.size} {noun} not finite where the derivative exists"
    if m.upper is not None and m.lower is not None:
        low, high = np.asarray(m.lower)[at], np.asarray(m.upper)[at]
        if high > low:
            why += f"; the worst lies outside [{low:.6g}, {high:.6g}], the one-sided derivatives at a kink"
    return why


def _vague(tally: Tally, size: int, asked: float) -> str:
    if tally.known < size:
        return f"the oracle does not know the derivative at {size - tally.known} of {size} entries"
    return (
        f"the oracle's own error ({tally.error:.1e}) exceeds what was asked for ({asked:.1e}) at {tally.vague} entries"
    )


def _scale(m: Measurement) -> float:
    """Largest finite magnitude of the truth, or of the gradient where that is zero; at least the natural scale."""
    size = max(m.scale, largest(np.asarray(m.want.value)))
    return size if size > 0 else largest(np.asarray(m.got))


def _resolution(allowed: float, scale: float) -> float:
    """Relative to the largest entry; absolute for a gradient that is zero ("zero to within")."""
    if allowed == -np.inf:
        return float("nan")
    return allowed / scale if scale > 0 else allowed


def _real(value: object) -> float:
    return float(np.real(value))  # type: ignore[call-overload]  # a numpy scalar of any kind
