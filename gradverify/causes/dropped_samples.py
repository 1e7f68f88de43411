"""Samples do not contribute."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair
from gradverify.causes._tools import batch_sizes, experiment, pair, pairs
from gradverify.causes._what_if import played_through
from gradverify.types import Array, Cause, Evidence, Measurement, differentiable, leaves, like

DIGITS = 30  #: how far above the roundings a difference must stand to show its structure
NUDGE, LEAST = 1e-3, 1e-9  #: a change of a primal, and the part of the largest change of an output that is none
SUGGESTION = "let the loop run over the whole batch, and add (+=) every sample's contribution"


@registry.cause("dropped-samples")
def dropped_samples(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient lacks what some samples of the batch contribute: their rows are zero, or nothing depends on them."""
    p = pair(m, ev)
    if p is None or not p.alike or not np.any(p.got):
        return None
    played = played_through(m, ev, "dropped-samples", SUGGESTION)
    if played is not None:
        return played
    if (evidence_of_part := _picked(p, ev)) is not None:
        return Cause(name="dropped-samples", evidence=evidence_of_part, suggestion=SUGGESTION, confidence=0.93)
    for b, where in batch_sizes(ev, m).items():
        found = _rows(p, b, where)
        if found is None and "length" not in m.facts:  # else the case has another batch
            found = _outer(p, b, ev) or _blind(p, b, ev)
        if found:
            evidence, confidence = found
            return Cause(
                name="dropped-samples",
                evidence=evidence,
                suggestion=SUGGESTION,
                confidence=confidence,
            )
    return None


def _picked(p: Pair, ev: Evidence) -> str | None:
    """The upstream summed over some axes but taken at one index of others, where want is the whole sum."""
    for name, v in leaves(ev.upstream).items():
        u = np.asarray(v, dtype=float)
        if not p.want.ndim < u.ndim <= 4:
            continue
        for kept in combinations(range(u.ndim), p.want.ndim):
            rest = [a for a in range(u.ndim) if a not in kept]
            if tuple(u.shape[a] for a in kept) != p.want.shape:
                continue
            if not np.all(np.abs(u.sum(axis=tuple(rest)) - p.want) <= p.tol * 4):
                continue
            for how in product((None, 0, -1), repeat=len(rest)):
                part = u
                for axis, k in sorted(zip(rest, how, strict=True), reverse=True):
                    part = part.sum(axis=axis) if k is None else part.take(k, axis=axis)
                if any(k is not None for k in how) and p.is_(part, 4.0):
                    said = ", ".join(
                        f"{'summed over' if k is None else 'first of' if k == 0 else 'last of'} axis {a}"
                        for a, k in zip(rest, how, strict=True)
                    )
                    return f"got is the upstream {name}, {said}; want is its sum".replace(" ,", ",")
    return None


Found = tuple[str, float]


def _rows(p: Pair, b: int, where: str) -> Found | None:
    """Whole rows of a per-sample gradient are zero, the others right."""
    if p.want.ndim < 1 or p.want.shape[0] != b:
        return None
    rest = tuple(range(1, p.want.ndim))
    zero = np.all(p.got == 0, axis=rest)
    lost = zero & np.any(p.signal, axis=rest)
    if not np.any(lost) or np.all(lost) or not np.array_equal(np.any(p.wrong, axis=rest), lost):
        return None
    return f"samples {_list(lost)} of {b} ({where}) get zeros in {p.name}, all others are right", 0.95


def _outer(p: Pair, b: int, ev: Evidence) -> Found | None:
    """Want - got is an outer product with the data of one sample: the missing contribution itself."""
    residual = p.want - p.got
    if residual.ndim != 2 or min(residual.shape) < 2 or np.max(np.abs(residual)) < DIGITS * np.max(p.tol):
        return None  # in coarse arithmetic a few numbers are an outer product with anything
    data = {**dict(ev.case.primals), **{k: v for k, v in ev.case.constants.items() if isinstance(v, np.ndarray)}}
    for name, x in data.items():
        if x.ndim != 2 or x.shape[0] != b or x.dtype.kind not in "fiu":
            continue
        for i, row in enumerate(np.asarray(x, dtype=float)):
            for side, r in (("rows", residual), ("columns", residual.T)):
                if r.shape[1] != row.size or not np.any(row):
                    continue
                left = r @ row / (row @ row)
                if (
                    np.all(np.abs(r - np.outer(left, row)) <= np.max(p.tol) + 1e-10 * np.max(np.abs(r)))
                    and np.max(np.abs(left)) > 0
                ):
                    return f"want - got is an outer product with sample {i} of {name}, to rounding, in its {side}", 0.95
    return None


def _blind(p: Pair, b: int, ev: Evidence) -> Found | None:
    """The gradient stays the same to the bit when a sample's upstream is set to zero."""
    above = {k: np.asarray(v) for k, v in leaves(ev.upstream).items()}
    if p.want.shape[:1] == (b,) or not all(v.ndim and v.shape[0] == b for v in above.values()):
        return None
    lost = np.zeros(b, dtype=bool)
    for i in range(b) if b <= 16 else (0, b - 1):
        found = experiment(ev, upstream=like(ev.upstream, {k: _without(v, i) for k, v in above.items()}))
        g = None if found is None else found.get(p.name)
        lost[i] = g is not None and np.array_equal(g, p.got)
    for q in pairs(ev).values():  # a sample that reaches nothing (a dead relu) is not lost
        if q.want.ndim > 1 and q.want.shape[0] == b:
            lost &= np.any(q.signal, axis=tuple(range(1, q.want.ndim)))
    if np.any(lost) and not np.all(lost):
        lost &= _reached(p, b, ev)
    if not np.any(lost) or np.all(lost):
        return None
    return f"the upstream of samples {_list(lost)} of {b} does not reach the gradient of {p.name}, to the bit", 0.8


def _reached(p: Pair, b: int, ev: Evidence) -> Array:
    """The samples of the output that change with the primal: of an empty bag, or a dead relu, nothing is lost."""
    x = ev.case.primals[p.name]
    if ev.outputs is None or not differentiable(x):
        return np.ones(b, dtype=bool)
    xi = np.random.default_rng(0).uniform(0.5, 1.0, x.shape) * NUDGE
    size = float(np.max(np.abs(x), initial=0.0)) or 1.0
    moved = np.where(x != 0, x * (1 + xi), xi * size).astype(x.dtype)
    try:
        then = leaves(ev.outputs({p.name: moved}))
    except Exception:  # noqa: BLE001  (user code may raise anything where it was not meant to run: no evidence)
        return np.ones(b, dtype=bool)
    change = np.zeros(b)
    for k, v in leaves(ev.out).items():
        apart = np.abs(np.asarray(then[k], dtype=complex) - np.asarray(v))
        change = np.fmax(change, np.max(apart.reshape(b, -1), axis=1, initial=0.0))
    return np.asarray(change > LEAST * np.max(change, initial=0.0))


def _without(v: Array, i: int) -> Array:
    new = np.array(v)
    new[i] = 0
    return new


def _list(lost: Array) -> str:
    return ", ".join(str(int(i)) for i in np.flatnonzero(lost)[:5])
