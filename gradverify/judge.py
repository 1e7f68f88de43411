"""The only module that knows a tolerance: a measurement in, a verdict with its reason out.

FAIL          not (gap <= oracle error + rounding of the implementation), NaN included
INCONCLUSIVE  the oracle does not know somewhere, or knows less well than was asked, and nothing fails
PASS          states its resolution: the smallest error that this comparison would have seen

Budgets come from the dtype and from measured rounding, never from the number of entries; a tolerance of 0 means 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradverify.types import Array, Measurement, Verdict

#: rounding this large against the terms of a gradient, and as large as the gradient, leaves nothing to judge;
#: below it the gradient is zero to within its rounding
SWAMPED = 1e-6


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
    error, budget = np.asarray(m.want.error, dtype=float), _budget(m, tolerance)
    known = np.isfinite(error)
    gap = _gap(m, got, want)
    allowed = np.where(known, error, 0.0) + budget
    with np.errstate(invalid="ignore"):
        wrong = known & ~(gap <= allowed)
    if wrong.any():
        return _fail(m, gap, allowed, wrong, known)
    scale = _scale(m)
    asked = m.ask * scale
    vague = ~known | (error > asked) if asked > 0 else ~known
    worst = _worst(np.where(known, gap - allowed, np.inf), got.shape)
    common: dict[str, Any] = {
        "n_compared": int(known.sum()),
        "index": worst,
        "got": _real(got[worst]),
        "want": _real(want[worst]),
        "want_error": float(error[worst]),
        "gap": float(gap[worst]),
        "budget": float(np.broadcast_to(budget, got.shape)[worst]),
        "resolution": _resolution(allowed[known], scale),
    }
    if vague.any():
        return Judgement(verdict=Verdict.INCONCLUSIVE, why=_vague(vague, known, error, asked), **common)
    if m.natural > 0 and np.max(budget) > max(0.3 * scale, SWAMPED * m.natural):
        why = f"the implementation's own rounding ({np.max(budget):.1e}) is as large as the gradient ({scale:.1e})"
        return Judgement(verdict=Verdict.INCONCLUSIVE, why=why, **common)
    return Judgement(verdict=Verdict.PASS, **common)


def _budget(m: Measurement, tolerance: float | None) -> Array:
    if tolerance is None:
        return np.broadcast_to(np.asarray(m.rounding, dtype=float), np.shape(m.got))
    return np.full(np.shape(m.got), tolerance * _scale(m))


def _gap(m: Measurement, got: Array, want: Array) -> Array:
    """|got - want|; inside the interval of the one-sided derivatives it is zero."""
    with np.errstate(all="ignore"):
        gap = (
            np.abs(got.astype(complex) - want.astype(complex))
            if _is_complex(got, want)
            else np.abs(got.astype(float) - want.astype(float))
        )
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        # both infinite with the same sign, or both without a derivative: agreement; one of them only: NaN, a fail
        gap = np.where(same, 0.0, np.where(np.isfinite(got) & np.isfinite(want), gap, np.nan))
        if m.lower is not None and m.upper is not None:
            outside = np.maximum(np.maximum(m.lower - got, got - m.upper), 0.0)
            gap = np.where(m.upper > m.lower, outside, gap)
    return gap


def _fail(m: Measurement, gap: Array, allowed: Array, wrong: Array, known: Array) -> Judgement:
    got, want = np.asarray(m.got), np.asarray(m.want.value)
    excess = np.where(wrong, np.where(np.isnan(gap), np.inf, gap - allowed), -np.inf)
    worst = _worst(excess, got.shape)
    n = int(wrong.sum())
    noun = "entry" if got.size == 1 else "entries"
    why = m.why or f"{n} of {got.size} {noun} outside the budget"
    if not np.isfinite(got[worst]) and not m.why:
        why = f"{int((~np.isfinite(got) & wrong).sum())} of {got.size} {noun} not finite where the derivative exists"
    kink = m.upper is not None and m.lower is not None and bool((m.upper > m.lower)[worst])
    if kink and m.lower is not None and m.upper is not None and not m.why:
        sides = f"[{m.lower[worst]:.6g}, {m.upper[worst]:.6g}]"
        why += f"; the worst lies outside {sides}, the one-sided derivatives at a kink"
    return Judgement(
        verdict=Verdict.FAIL,
        why=why,
        n_compared=int(known.sum()),
        n_wrong=n,
        index=worst,
        got=_real(got[worst]),
        want=_real(want[worst]),
        want_error=float(np.asarray(m.want.error)[worst]),
        gap=float(gap[worst]),
        budget=float(allowed[worst] - (np.asarray(m.want.error)[worst] if known[worst] else 0.0)),
        resolution=_resolution(allowed[known], _scale(m)),
    )


def _vague(vague: Array, known: Array, error: Array, asked: float) -> str:
    if not known.all():
        return f"the oracle does not know the derivative at {int((~known).sum())} of {known.size} entries"
    largest, n = np.max(error), int(vague.sum())
    return f"the oracle's own error ({largest:.1e}) exceeds what was asked for ({asked:.1e}) at {n} entries"


def _scale(m: Measurement) -> float:
    """Largest finite magnitude of either side, at least the measurement's own natural scale."""
    sizes = [m.scale]
    for side in (np.asarray(m.want.value), np.asarray(m.got)):
        finite = np.abs(side[np.isfinite(side)])
        sizes.append(float(finite.max()) if finite.size else 0.0)
    return max(sizes[:2]) if max(sizes[:2]) > 0 else sizes[2]


def _resolution(allowed: Array, scale: float) -> float:
    """Relative to the largest entry; absolute for a gradient that is zero ("zero to within")."""
    if not allowed.size:
        return float("nan")
    return float(np.max(allowed)) / scale if scale > 0 else float(np.max(allowed))


def _worst(excess: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    flat = np.nan_to_num(np.ravel(excess), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(flat)), shape))


def _is_complex(*arrays: Array) -> bool:
    return any(a.dtype.kind == "c" for a in arrays)


def _real(value: object) -> float:
    return float(np.real(value))  # type: ignore[call-overload]  # a numpy scalar of any kind
