"""Counting: gaps against what is allowed, a block of entries at a time, so that millions cost no memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from gradverify.directions import blocks
from gradverify.types import Array


@dataclass(frozen=True)
class Columns:
    """What is compared, flattened; what is the same for every entry is not copied for each."""

    got: Array
    want: Array
    error: Array
    budget: Array
    lower: Array | None
    upper: Array | None

    @classmethod
    def of(
        cls,
        got: Array,
        want: Array,
        error: Array,
        budget: Array | float,
        lower: Array | None = None,
        upper: Array | None = None,
    ) -> Columns:
        """Arrays of one shape; ``error`` and ``budget`` broadcast to it. Equal bounds bound nothing."""
        shape = np.shape(got)
        kinks = lower is not None and upper is not None and lower is not upper
        return cls(
            got=np.reshape(got, -1),
            want=np.reshape(want, -1),
            error=flattened(error, shape),
            budget=flattened(np.asarray(budget, dtype=float), shape),
            lower=np.reshape(lower, -1) if kinks and lower is not None else None,
            upper=np.reshape(upper, -1) if kinks and upper is not None else None,
        )


def flattened(array: Array, shape: tuple[int, ...]) -> Array:
    """``array`` broadcast to ``shape`` and flattened; one number repeated stays one number in memory."""
    if array.ndim == 0 or not any(s for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        return np.broadcast_to(
            array.reshape(-1)[:1] if array.size < 2 else array[(0,) * array.ndim], int(np.prod(shape))
        )
    return np.reshape(np.broadcast_to(array, shape), -1)


def compact(array: Array) -> Array:
    """``array`` without its repetitions: a view whose axes of stride 0 have length one. Its extremes are the same."""
    return array[tuple(slice(0, 1) if s == 0 else slice(None) for s in array.strides)]


@dataclass(frozen=True)
class Count:
    """One block of entries: how many are known, wrong and vague, and the worst of them."""

    known: int
    wrong: int
    vague: int
    worst: int  #: flat index
    excess: float  #: of the worst
    gap: float  #: of the worst
    allowed: float  #: the largest of the entries that are known
    budget: float
    error: float
    infinite: int  #: wrong entries that are not finite


def counted(c: Columns, part: slice, asked: float) -> Count:
    """One block; ``asked`` is the error that the oracle should not exceed (0: any)."""
    got, want, error, budget = c.got[part], c.want[part], c.error[part], c.budget[part]
    lower, upper = (None, None) if c.lower is None or c.upper is None else (c.lower[part], c.upper[part])
    gap = _gap(got, want, lower, upper)
    if (plain := _all_well(gap, error, budget, part, asked)) is not None:
        return plain
    known = np.isfinite(error)
    with np.errstate(invalid="ignore"):
        allowed = np.where(known, error, 0.0) + budget
        over = gap - allowed
        wrong = known & ~(over <= 0)
        vague = ~known | (error > asked) if asked > 0 else ~known
    n_wrong = int(np.count_nonzero(wrong))
    if n_wrong:
        excess = np.where(wrong, np.where(np.isnan(gap), np.inf, over), -np.inf)
    else:
        excess = np.where(known, over, np.inf)
    worst = int(np.argmax(np.where(np.isnan(excess), np.inf, excess)))
    all_known = bool(known.all())
    return Count(
        known=int(np.count_nonzero(known)),
        wrong=n_wrong,
        vague=int(np.count_nonzero(vague)),
        worst=part.start + worst,
        excess=float(excess[worst]),
        gap=float(gap[worst]),
        allowed=float(np.max(allowed if all_known else allowed[known], initial=-np.inf)),
        budget=float(np.max(budget)),
        error=float(np.max(error if all_known else error[known], initial=-np.inf)),
        infinite=int(np.count_nonzero(wrong & ~np.isfinite(got))) if n_wrong else 0,
    )


def _all_well(gap: Array, error: Array, budget: Array, part: slice, asked: float) -> Count | None:
    """The count of a block in which everything is allowed the same, and nothing exceeds it; None for any other."""
    if not gap.size or error.strides != (0,) or budget.strides != (0,):
        return None
    allowed, worst = float(error[0] + budget[0]), int(np.argmax(gap))  # argmax finds a NaN, too
    if not np.isfinite(error[0]) or not gap[worst] <= allowed:
        return None
    return Count(
        known=gap.size,
        wrong=0,
        vague=gap.size if error[0] > asked > 0 else 0,
        worst=part.start + worst,
        excess=float(gap[worst]) - allowed,
        gap=float(gap[worst]),
        allowed=allowed,
        budget=float(budget[0]),
        error=float(error[0]),
        infinite=0,
    )


def outside(c: Columns) -> Array:
    """(entries,) True where an entry is neither within what is allowed nor between the bounds, or is not known."""
    found = np.empty(c.got.size, bool)
    for part in blocks(c.got.size):
        found[part] = _away(c, part)
    return found


def any_outside(c: Columns) -> bool:
    """Whether ``outside`` finds an entry; stops at the first block that has one."""
    return any(bool(_away(c, part).any()) for part in blocks(c.got.size))


def _away(c: Columns, part: slice) -> Array:
    got, want, error, budget = c.got[part], c.want[part], c.error[part], c.budget[part]
    allowed = error[:1] + budget[:1] if error.strides == budget.strides == (0,) else error + budget
    with np.errstate(invalid="ignore"):
        away: Array = ~(np.abs(got - want) <= allowed)
        if away.any():
            away &= (got != want) | np.isnan(error)
        if c.lower is not None and c.upper is not None:
            lower, upper = c.lower[part], c.upper[part]
            away &= ~((got >= lower - budget) & (got <= upper + budget) & (upper > lower)) | np.isnan(error)
    return away


def fails(c: Columns) -> bool:
    """Whether an entry is off by more than is allowed; stops at the first block that has one."""
    for part in blocks(c.got.size):
        lower, upper = (None, None) if c.lower is None or c.upper is None else (c.lower[part], c.upper[part])
        gap = _gap(c.got[part], c.want[part], lower, upper)
        error, budget = c.error[part], c.budget[part]
        same = error.strides == budget.strides == (0,)
        with np.errstate(invalid="ignore"):
            if not (gap <= (error[:1] + budget[:1] if same else error + budget)).all():
                return True
    return False


class Tally:
    """All blocks together."""

    def __init__(self, counts: Iterable[Count]) -> None:
        found = list(counts)
        self.known, self.wrong, self.vague, self.infinite = (
            sum(getattr(c, name) for c in found) for name in ("known", "wrong", "vague", "infinite")
        )
        self.allowed, self.budget, self.error = (
            max(getattr(c, name) for c in found) for name in ("allowed", "budget", "error")
        )
        among = [c for c in found if c.wrong] or found
        worst = max(among, key=lambda c: np.inf if np.isnan(c.excess) else c.excess)
        self.worst, self.gap = worst.worst, worst.gap


def _gap(got: Array, want: Array, lower: Array | None, upper: Array | None) -> Array:
    """|got - want|; inside the interval of the one-sided derivatives it is zero."""
    with np.errstate(all="ignore"):
        kind = complex if _is_complex(got, want) else float
        gap: Array = np.abs(got.astype(kind, copy=False) - want.astype(kind, copy=False))
        if not np.isfinite(gap).all():
            same = (got == want) | (np.isnan(got) & np.isnan(want))
            # both infinite with the same sign, or both without a derivative: agreement; one of them only: NaN, a fail
            gap = np.where(same, 0.0, np.where(np.isfinite(got) & np.isfinite(want), gap, np.nan))
        if lower is not None and upper is not None:
            outside = np.maximum(np.maximum(lower - got, got - upper), 0.0)
            gap = np.where(upper > lower, outside, gap)
    return gap


def largest(array: Array) -> float:
    """Largest finite magnitude; 0 of nothing."""
    flat, found = array.reshape(-1), 0.0
    for part in blocks(flat.size):
        size = np.abs(flat[part])
        here = float(np.max(size))
        found = max(found, here if np.isfinite(here) else float(np.max(size[np.isfinite(size)], initial=0.0)))
    return found


def norm(vector: Array) -> float:
    """Euclidean length of a flat array."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.vdot(vector, vector).real))


def _is_complex(*arrays: Array) -> bool:
    return any(a.dtype.kind == "c" for a in arrays)


def through_float32(value: Array, beside: Callable[[], Array]) -> bool:
    """Whether float64 numbers went through float32: all of them are float32 ones, those at another point, too.

    beside  the numbers there, asked for only then: whole and short numbers are float32 ones by chance
    """

    def narrow(v: Array) -> bool:
        if v.dtype != float or not np.any(v):
            return False
        return all(bool(np.all(part == part.astype(np.float32))) for part in (v[:64], v))

    if not narrow(value):
        return False
    other = beside()
    return narrow(other) and not np.array_equal(other, np.round(other))


#: spacing of 1.0 in storage dtypes that an adapter may compute in whatever NumPy says of its arrays
STORAGE_EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}


def stored_eps(adapter: object) -> float:
    """Unit roundoff of the adapter's own storage dtype, 0 where it names none."""
    return STORAGE_EPS.get(str(getattr(adapter, "dtype", None) or "").removeprefix("torch."), 0.0)


def vanishing(eps: float) -> float:
    """Numbers below this may be flushed to zero in the dtype of this unit roundoff: 16 of its smallest normal one."""
    if 2.0**-11 < eps < 2.0**-9:
        return 16.0 * float(np.finfo(np.float16).smallest_subnormal)
    return 16.0 * float(np.finfo(np.float32 if eps > 1e-8 else np.float64).tiny)
