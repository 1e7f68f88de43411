"""What got has too much or too little: the difference as a multiple of something in scope, or by its structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradverify.causes._tools import Pair, candidates, number, proportional
from gradverify.types import Array, Evidence


@dataclass(frozen=True, kw_only=True)
class Term:
    """got = want + term. ``extra``: got has it and want has not, as far as one can tell."""

    words: str
    extra: bool
    confidence: float


def terms(p: Pair, ev: Evidence) -> Iterator[Term]:
    """Everything that the difference of got and want is, best first."""
    if not p.alike or proportional(p.got, p.want, p.tol) is not None:
        return
    residual = p.got - p.want
    yield from _named(p, residual, ev)
    yield from _factors(p, ev)
    yield from _means(p, residual)
    yield from _few(p)
    yield from _rank_one(p, residual)


def _named(p: Pair, residual: Array, ev: Evidence) -> Iterator[Term]:
    for words, pattern in _patterns(p, ev):
        c = proportional(residual, pattern, p.tol)
        if c is not None:
            sign = "+" if c > 0 else "-"
            own = p.name in words
            said = f"got = want {sign} {number(abs(c))} * {words} in all {p.got.size} entries"
            yield Term(words=said, extra=c > 0, confidence=0.94 if own else 0.85)


def _factors(p: Pair, ev: Evidence) -> Iterator[Term]:
    """An array in scope that got is multiplied by and want is not, or the other way round."""
    for words, value in candidates(ev, p.want.shape):
        if int(np.sum(p.signal)) < 3 or np.ptp(value) == 0:
            continue
        if p.is_(p.want * value, float(np.max(np.abs(value)))):
            yield Term(
                words=f"got = want * {words} in all {p.got.size} entries: a factor too many", extra=True, confidence=0.9
            )
        elif np.all(np.abs(p.got * value - p.want) <= p.tol * np.maximum(1.0, np.abs(value))):
            yield Term(
                words=f"want = got * {words} in all {p.got.size} entries: a factor is missing",
                extra=False,
                confidence=0.9,
            )


def _patterns(p: Pair, ev: Evidence) -> Iterator[tuple[str, Array]]:
    own = ev.case.primals.get(p.name)
    if own is not None and own.shape == p.want.shape:
        yield p.name, own.astype(float)
        yield f"sign({p.name})", np.sign(own).astype(float)
    yield "1", np.ones(p.want.shape)
    for words, value in candidates(ev, p.want.shape):
        if words != p.name:
            yield words, value


def _means(p: Pair, residual: Array) -> Iterator[Term]:
    """A mean that was to be subtracted (batch norm, layer norm, softmax), or was subtracted once too often."""
    for axis in range(p.got.ndim):
        if p.got.shape[axis] < 3 or np.max(np.ptp(residual, axis=axis)) > 2 * np.max(p.tol):
            continue
        flat = residual.take([0], axis=axis)
        tol = 2 * np.max(p.tol)
        if np.all(np.abs(flat - p.got.mean(axis=axis, keepdims=True)) <= tol):
            yield Term(
                words=f"want = got - mean(got, axis={axis}): a mean is not subtracted", extra=False, confidence=0.93
            )
        elif np.all(np.abs(flat + p.want.mean(axis=axis, keepdims=True)) <= tol):
            yield Term(
                words=f"got = want - mean(want, axis={axis}): a mean too many is subtracted",
                extra=True,
                confidence=0.93,
            )
        else:
            yield Term(
                words=f"got - want is the same along axis {axis} in all {p.got.shape[axis]} rows",
                extra=False,
                confidence=0.5,
            )


def _few(p: Pair) -> Iterator[Term]:
    wrong = p.wrong
    n = int(np.sum(wrong))
    if p.got.size >= 4 and n <= max(1, p.got.size // 10):
        where = [int(i) for i in np.argwhere(wrong)[0]]
        yield Term(
            words=f"got differs in {n} of {p.got.size} entries only, the first at {where}: "
            f"{p.got[tuple(where)]:.6g} for "
            f"{p.want[tuple(where)]:.6g}", extra=False, confidence=0.35,
        )  # fmt: skip


def _rank_one(p: Pair, residual: Array) -> Iterator[Term]:
    if residual.ndim != 2 or min(residual.shape) < 3 or np.mean(p.wrong) < 0.5:
        return
    size, want = np.linalg.svd(residual, compute_uv=False), np.linalg.svd(p.want, compute_uv=False)
    noise = np.max(p.tol) * np.sqrt(residual.size)
    if size[1] <= noise < 1e-3 * size[0] and want[1] > 8 * noise:
        yield Term(
            words=f"got - want has rank one (singular values {size[0]:.3g}, {size[1]:.1g}), want has "
            "not: one outer product "
            "is missing or too many", extra=False, confidence=0.4,
        )  # fmt: skip
