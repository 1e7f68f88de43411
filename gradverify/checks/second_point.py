"""A second point, after the first one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.checks._elsewhere import bench_of, judged_elsewhere, may_be_judged
from gradverify.checks._glance import glance
from gradverify.checks._kept import forgotten, kept
from gradverify.checks._sides import on_the_other_side
from gradverify.checks._tools import copied, floats, largest
from gradverify.checks._used_object import on_the_used_object
from gradverify.errors import AdapterError, Unsupported
from gradverify.judge import judge
from gradverify.points import are_one, are_shares, is_symmetric
from gradverify.types import Array, Bench, Measurement, Verdict

STEP = 0.1  #: of itself that an entry is moved by, at most
TOLERANCE = 1e-5  #: to which matrices count as orthogonal: it decides where to look and judges nothing
DROWNED = 0.3  #: of a gradient, from which its own rounding leaves nothing of it to judge
WORDS = "at a second point"


@registry.check(
    "second-point",
    catches=("stale-state", "wrong-mask"),
    requires=("shape", "pullback-matches-oracle", "deterministic", "second-call-equal"),
    elsewhere=True,
)
def second_point(bench: Bench) -> Iterator[Measurement]:
    """The gradient is right at a second point of the same shapes, asked for after the first one.

    Samples in another order, every entry moved by up to a tenth: signs, zeros, sorted arrays, whole numbers, rows of
    probabilities, unit vectors and matrices with a structure stay what they are. A point that the forward or the
    backward refuses is left alone. An object that has been at the first point says there what a fresh one says.
    Where a comparison with a number comes out the same for all entries, so is a size at which it does not.
    Why: a slope or mask remembered by shape, by ``id``, in a default argument or an ``lru_cache`` is that of the first
    point for ever. All calls at the first point agree with it.
    Right: the cache that forward returns. Wrong: ``if x.shape not in masks: masks[x.shape] = x > 0``.
    """
    may_be_judged(bench)
    own: Mapping[str, Array] = getattr(bench.adapter, "parameters", dict)()
    # the buffers of a module belong to the parameters that it has now: a power iteration has converged for these
    kept_there = set(own) if getattr(bench.adapter, "stateful", False) else set()
    there = {k: np.asarray(_elsewhere(v, bench.rng, ordered=k in own), v.dtype) for k, v in
             floats(bench.case.primals).items() if k not in kept_there}  # fmt: skip
    if all(np.array_equal(v, bench.case.primals[k]) for k, v in there.items()):
        raise Unsupported("there is no second point that keeps the structure of the given one")
    try:
        other = bench_of(bench, bench.adapter, replace(bench.case.at(there), name=f"{bench.case.name}~second"))
        gradients = other.gradients()
    except AdapterError as error:
        raise Unsupported(f"it does not run {WORDS}: {error}") from error
    if any(np.shape(g) != np.shape(bench.case.primals[k]) for k, g in gradients.items() if g is not None):
        raise Unsupported(f"the gradients have another shape {WORDS}")
    met = glance(bench, other.case, other.upstream, gradients, WORDS)
    if met is not None:
        yield met
        yield from on_the_used_object(bench, other.case, WORDS)
        yield from on_the_other_side(bench)
        return
    vague = _drowned(bench)
    rows = [m for m in judged_elsewhere(bench, other, WORDS, point="second") if m.facts.get("primal") not in vague]
    wrong = any(judge(m).verdict is Verdict.FAIL for m in rows)
    memory = _culprit(bench, other, rows) if wrong else ""
    for m in rows:
        why = f"{m.why}: it is right once {memory} is emptied" if memory else m.why
        yield replace(m, why=why, facts={**m.facts, **({"memory": memory} if memory else {})})
    if not wrong:
        yield from on_the_used_object(bench, other.case, WORDS)
        yield from on_the_other_side(bench)


def _drowned(bench: Bench) -> set[object]:
    """The primals whose gradient is as large as its own rounding at the given point: near it, it is no better known."""
    return {m.facts.get("primal") for m in bench.settled() if largest(m.rounding) > DROWNED * largest(m.want.value) > 0}


def _culprit(bench: Bench, other: Any, rows: list[Measurement]) -> str:
    """The names of what is kept between calls without which the gradient is right there, else nothing."""
    found = kept(bench.adapter)
    for names in (*((n,) for n in found), tuple(found)):
        try:
            with contextlib.ExitStack() as stack:
                for n in names:
                    stack.enter_context(forgotten(found[n]))
                now = other.run().pullback(copied(other.upstream))
        except Exception:  # noqa: BLE001  (code may well need what it keeps, and raise anything without it)
            continue
        asked = [replace(m, got=np.asarray(now.get(str(m.facts.get("primal"))))) for m in rows if "primal" in m.facts]
        if asked and all(judge(m).verdict is not Verdict.FAIL for m in asked):
            return " and ".join(f"`{n}`" for n in names)
    return ""


def _elsewhere(v: Array, rng: np.random.Generator, *, ordered: bool) -> Array:
    """Other numbers that keep what an implementation may rely on; ``ordered`` keeps the rows in their places, too."""
    if v.dtype.kind == "c" or not v.size or not np.all(np.isfinite(v)) or np.array_equal(v, np.round(v)):
        return v  # masks, counts and one-hot rows stay
    wide = v.astype(float)
    together = float(rng.uniform(1 - STEP, 1 + STEP))
    if v.ndim > 1 and v.shape[-2] == v.shape[-1] > 1 and _structured(v):
        return v if _orthogonal(wide) else together * wide
    if any(_sorted(wide, axis) for axis in range(v.ndim)):
        return together * wide
    moved = wide * (1 + STEP * rng.uniform(-1, 1, v.shape))
    for size in _sizes(wide):
        moved = moved / size(moved, axis=-1, keepdims=True)
    return moved if ordered else _rolled(moved)


def _sizes(v: Array) -> Iterator[Any]:
    """The norms in which all rows are one: probabilities, unit vectors."""
    if v.ndim and v.shape[-1] > 1:
        if are_shares(v):
            yield np.sum
        if are_one(v, np.linalg.norm):
            yield np.linalg.norm


def _sorted(v: Array, axis: int) -> bool:
    steps = np.diff(v, axis=axis)
    return v.shape[axis] > 2 and bool(np.all(steps >= 0) or np.all(steps <= 0))


def _rolled(v: Array) -> Array:
    """The rows moved on by as few places as change a sign, else by one."""
    if not v.ndim:
        return v
    rows = range(1, v.shape[0])
    by = next((k for k in rows if np.any(np.sign(np.roll(v, k, axis=0)) != np.sign(v))), 1)
    return np.roll(v, by, axis=0)


def _structured(matrices: Array) -> bool:
    """Symmetric, triangular or orthogonal, all of a stack: a rotation, a covariance, a factor."""
    triangular = not np.any(np.triu(matrices, 1)) or not np.any(np.tril(matrices, -1))
    return bool(triangular or is_symmetric(matrices) or _orthogonal(matrices))


def _orthogonal(matrices: Array) -> bool:
    products = matrices @ matrices.swapaxes(-1, -2)
    return bool(np.allclose(products, np.eye(matrices.shape[-1]), rtol=0, atol=TOLERANCE))
