"""Two arrays that should be the same, and ways to say that one of them is another array."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradverify.types import Array

LARGE, SOME = 1 << 14, 1 << 10  #: entries from which a comparison begins with about so many of them


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One failing gradient: ``got`` against ``want``, and the size of a difference that means nothing.

    tol    oracle's error and the implementation's rounding, same shape as want
    wrong  where they differ (None if the shapes do);  signal  where ``want`` stands clear of the noise
    """

    name: str
    got: Array
    want: Array
    tol: Array

    @cached_property
    def alike(self) -> bool:
        """Whether the shapes agree and every number is finite, so that the entries can be compared."""
        return self.got.shape == self.want.shape and bool(
            np.all(np.isfinite(self.got)) and np.all(np.isfinite(self.want))
        )

    @cached_property
    def wrong(self) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(~(np.abs(self.got - self.want) <= self.tol))

    @cached_property
    def signal(self) -> Array:
        return np.asarray(np.abs(self.want) > 8 * self.tol)

    @cached_property
    def by_a_factor(self) -> bool:
        """Whether ``got`` is a multiple of ``want`` in all entries."""
        return proportional(self.got, self.want, 4 * self.tol) is not None

    def is_(self, candidate: Array, factor: float = 1.0) -> bool:
        """Whether ``got`` is ``candidate`` in every entry; ``factor``: how much of the oracle's error it carries."""
        if candidate.shape != self.got.shape:
            return False
        some = thin(candidate.shape) if self.tol.shape == candidate.shape else ()
        return (not some or self._same(candidate, factor, some)) and self._same(candidate, factor, ())

    def _same(self, candidate: Array, factor: float, where: tuple[slice, ...]) -> bool:
        there = candidate[where]
        with np.errstate(invalid="ignore"):
            near = np.abs(self.got[where] - there) <= self.tol[where] * max(1.0, abs(factor))
        return bool(np.all(near) and np.all(np.isfinite(there)))

    def worst(self, candidate: Array) -> float:
        """The largest difference between ``got`` and ``candidate``, relative to the largest entry of ``got``."""
        return float(np.max(np.abs(self.got - candidate), initial=0.0) / (np.max(np.abs(self.got), initial=0.0) or 1.0))


def thin(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """A few entries in regular distances along every axis of a large array: what they refute need not be looked at
    in full. Empty for an array that is not large.
    """
    if int(np.prod(shape)) <= LARGE:
        return ()
    each = max(2, int(SOME ** (1 / len(shape))))
    return tuple(slice(None, None, max(1, n // each)) for n in shape)


def tolerance(want: Array, error: Array | float, rounding: Array | float) -> Array:
    """Error and rounding as one array, at least eight roundings of the largest number."""
    size = float(np.max(np.abs(want[np.isfinite(want)]), initial=0.0)) if want.size else 0.0
    kind: np.dtype[Any] = want.dtype if want.dtype.kind in "fc" else np.dtype(float)
    known = np.where(np.isfinite(error), error, 0.0)
    return np.broadcast_to(
        np.maximum(known + np.asarray(rounding, dtype=float), 8 * np.finfo(kind).eps * size), want.shape
    )


def proportional(residual: Array, pattern: Array, tol: Array) -> float | None:
    """The factor c with residual = c * pattern in every entry, or None; needs three entries that say so."""
    weight = float(np.sum(pattern * pattern))
    if residual.shape != pattern.shape or not weight or not np.all(np.isfinite(residual)):
        return None
    c = float(np.sum(residual * pattern)) / weight
    clear = np.abs(residual) > 8 * tol
    if int(np.sum(clear)) < 3 or not np.all(np.abs(residual - c * pattern) <= tol + 1e-9 * np.abs(residual)):
        return None
    return c
