"""What got has too much or too little: the difference as a multiple of something in scope, or by its structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from gradverify.causes._pair import Pair, proportional
from gradverify.causes._tools import candidates, number
from gradverify.types import Array, Evidence, leaves


@dataclass(frozen=True, kw_only=True)
class Term:
    """got = want + term. ``extra``: got has it and want has not, as far as one can tell."""

    words: str
    extra: bool
    confidence: float


def terms(p: Pair, ev: Evidence) -> Iterator[Term]:
    """Everything that the difference of got and want is, best first."""
    if not p.alike or (p.got.size > 1 and proportional(p.got, p.want, p.tol) is not None):
        return
    residual = p.got - p.want
    yield from _single(p, ev)
    yield from _named(p, residual, ev)
    yield from _shifted(p, residual, ev)
    yield from _factors(p, ev)
    yield from _part(p, ev)
    yield from _statistics(p, residual, ev)
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


def _shifted(p: Pair, residual: Array, ev: Evidence) -> Iterator[Term]:
    """The difference is a multiple of something in scope and a constant, as for smoothed labels."""
    if int(np.sum(np.abs(residual) > 8 * p.tol)) < 5:
        return
    for words, value in candidates(ev, p.want.shape):
        if np.ptp(value) == 0 or words == p.name:
            continue
        columns = np.stack([value.ravel(), np.ones(value.size)], axis=1)
        c, d = np.linalg.lstsq(columns, residual.ravel(), rcond=None)[0]
        if np.all(np.abs(residual - c * value - d) <= 2 * p.tol + 1e-10 * np.abs(residual)):
            said = f"got = want {'+' if c > 0 else '-'} {number(abs(c))} * ({words} - {number(-d / c)}) in all entries"
            yield Term(words=said, extra=False, confidence=0.85)


def _single(p: Pair, ev: Evidence) -> Iterator[Term]:
    """One number, as a bias: too large by a round multiple of itself, as weight decay writes it."""
    own = ev.case.primals.get(p.name)
    if p.got.size != 1 or own is None or own.shape != p.want.shape or not np.any(own):
        return
    c = float(((p.got - p.want) / own).reshape(-1)[0])
    near = float(f"{c:.1e}")
    sure = float(np.max(p.tol / np.abs(own)))
    if abs(c) > 1e5 * sure and abs(c - near) <= sure + 1e-12 * abs(c) and abs(near) < 1:
        yield Term(words=f"got = want + {near:g} * {p.name}", extra=c > 0, confidence=0.8)


def _factors(p: Pair, ev: Evidence) -> Iterator[Term]:
    """An array in scope that got is multiplied by and want is not, or the other way round."""
    for words, value in candidates(ev, p.want.shape):
        if int(np.sum(p.signal)) < 3 or np.ptp(value) == 0 or np.all((value == 0) | (value == 1)):
            continue  # a mask is another cause
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
    yield from _hot(p, ev)
    for words, value in candidates(ev, p.want.shape):
        if words != p.name:
            yield words, value


def _hot(p: Pair, ev: Evidence) -> Iterator[tuple[str, Array]]:
    """One-hot rows (or columns) of the labels in sight, and the same against an even share."""
    for name, index in {**dict(ev.case.constants), **dict(ev.case.primals)}.items():
        if not isinstance(index, np.ndarray) or index.dtype.kind not in "iu" or index.ndim != 1 or p.want.ndim != 2:
            continue
        for turned in (False, True):
            rows, classes = p.want.shape[::-1] if turned else p.want.shape
            if len(index) != rows or not index.size or index.min() < 0 or index.max() >= classes:
                continue
            hot = np.eye(classes)[index]
            for words, pattern in ((f"one-hot({name})", hot), (f"(one-hot({name}) - 1/{classes})", hot - 1 / classes)):
                yield words, pattern.T if turned else pattern


def _part(p: Pair, ev: Evidence) -> Iterator[Term]:
    """Of a larger upstream (padding, repetition) one block alone is taken, and want is more than that."""
    for k, v in leaves(ev.upstream).items():
        u = np.asarray(v, dtype=float)
        room = [a - b for a, b in zip(u.shape, p.got.shape, strict=False)]
        if u.ndim != p.got.ndim or not u.ndim or min(room) < 0 or not any(room) or int(np.sum(p.signal)) < 3:
            continue
        for start in islice(np.ndindex(*(r + 1 for r in room)), 200):
            if p.is_(u[tuple(slice(i, i + n) for i, n in zip(start, p.got.shape, strict=True))]):
                yield Term(
                    words=f"got is the block of the upstream {k} that begins at {list(start)} and nothing of the rest",
                    extra=False,
                    confidence=0.92,
                )
                return


def _statistics(p: Pair, residual: Array, ev: Evidence) -> Iterator[Term]:
    """Along an axis the difference is a constant plus a multiple of the primal: what mean and variance give back."""
    own = ev.case.primals.get(p.name)
    if own is None or own.shape != p.want.shape or own.ndim < 2:
        return
    for axis in range(own.ndim):
        n = own.shape[axis]
        if n < 4:
            continue
        x = np.moveaxis(own.astype(float), axis, 0).reshape(n, -1)
        r, g, w = (np.moveaxis(v, axis, 0).reshape(n, -1) for v in (residual, p.got, p.want))
        tol = 16 * float(np.max(p.tol))
        x = x - x.mean(axis=0)
        slope = np.sum(x * r, axis=0) / np.maximum(np.sum(x * x, axis=0), np.finfo(float).tiny)
        if np.max(np.abs(r - r.mean(axis=0) - slope * x)) > tol or np.max(np.abs(slope)) * np.max(np.abs(x)) <= tol:
            continue
        none = [max(np.max(np.abs(v.sum(axis=0))), np.max(np.abs(np.sum(v * x, axis=0)))) <= n * tol for v in (g, w)]
        alone = "" if none[0] == none[1] else f", and {'got' if none[0] else 'want'} alone has neither"
        yield Term(
            words=f"along axis {axis} got - want is a constant plus a multiple of {p.name}{alone}: mean and variance "
            "are differentiated in one of them only",
            extra=not none[1],
            confidence=0.92 if alone else 0.7,
        )
        return


def _means(p: Pair, residual: Array) -> Iterator[Term]:
    """A mean that was to be subtracted (batch norm, layer norm, softmax), or was subtracted once too often."""
    for axis in range(p.got.ndim):
        if p.got.shape[axis] < 3 or np.max(np.ptp(residual, axis=axis)) > 2 * np.max(p.tol):
            continue
        flat = residual.take([0], axis=axis)
        tol = 2 * np.max(p.tol)
        if np.max(np.abs(flat)) <= 8 * tol:
            continue  # in coarse arithmetic many a difference looks like a mean
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
