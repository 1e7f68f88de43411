"""What several checks need: names, copies of upstreams, and two gradients put side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gradverify.types import (
    Array,
    Arrays,
    Bench,
    Case,
    Estimate,
    Gradients,
    Measurement,
    Out,
    differentiable,
    leaves,
    like,
)


def traits(bench: Bench) -> frozenset[str]:
    """What the adapter says of its API, see ``gradverify.types.TRAITS``."""
    return frozenset(getattr(bench.adapter, "traits", frozenset()))


def exact(value: Any) -> Estimate:
    """A number that is known without error."""
    return Estimate(value=np.asarray(value), error=np.zeros(np.shape(value)))


def count(of: str, got: float, why: str, *, want: float = 0.0, **more: Any) -> Measurement:
    """A measurement of one number that must be exactly ``want``."""
    return Measurement(of=of, got=np.asarray(float(got)), want=exact(float(want)), scale=1.0, why=why, **more)


def extents(shape: tuple[int, ...]) -> Array:
    """A shape as numbers that can be compared: the number of axes, then the axes (so () is not empty)."""
    return np.array([len(shape), *shape], dtype=float)


def shape_measured(of: str, got: tuple[int, ...], want: tuple[int, ...], why: str, **more: Any) -> Measurement:
    """Two shapes as a measurement; shapes with different numbers of axes are compared by that number."""
    a, b = (extents(got), extents(want)) if len(got) == len(want) else (extents(got)[:1], extents(want)[:1])
    return Measurement(of=of, got=a, want=exact(b), scale=1.0, why=why, **more)


def each(out: Out, change: Callable[[Array], Array]) -> Out:
    """``change`` applied to every leaf."""
    return like(out, {k: change(np.asarray(v)) for k, v in leaves(out).items()})


def copied(out: Out) -> Out:
    """Private, writable, C-contiguous copies of the leaves: what a check hands to a pullback."""
    return each(out, lambda a: np.array(a, copy=True, order="C"))


def overwritten(before: Out, after: Out, of: str = "upstream", **facts: Any) -> Iterator[Measurement]:
    """Every leaf of an upstream against what it held before backward."""
    for name, old in leaves(before).items():
        new = leaves(after)[name]
        if np.size(new):
            wrong = int(np.sum(new != old))
            yield Measurement(
                of=f"{of} {name}".strip(), got=np.array(new), want=exact(np.array(old)),
                scale=float(np.max(np.abs(old))),
                why=f"backward wrote into its upstream gradient: {wrong} of {np.size(new)} entries changed",
                facts={"leaf": name, **facts},
            )  # fmt: skip


def drawn_like(out: Out, rng: np.random.Generator) -> Out:
    """Normal numbers of the shape, dtype and magnitude (root mean square) of each leaf."""

    def draw(a: Array) -> Array:
        size = float(np.sqrt(np.mean(np.abs(a.astype(complex)) ** 2))) if a.size else 1.0
        normal = rng.standard_normal(a.shape)
        if a.dtype.kind == "c":
            normal = normal + 1j * rng.standard_normal(a.shape)
        return np.asarray(normal * (size or 1.0), dtype=a.dtype if differentiable(a) else float)

    return each(out, draw)


def combined(a: float, u: Out, b: float, v: Out) -> Out:
    """The sum a u + b v, in the dtype of u."""
    right = leaves(v)
    return like(u, {k: np.asarray(a * x + b * right[k], dtype=x.dtype) for k, x in leaves(u).items()})


def snapshot(gradients: Gradients) -> dict[str, Array | None]:
    """Copies of gradients, safe from whatever happens to the originals."""
    return {k: None if g is None else np.array(g, copy=True) for k, g in gradients.items()}


def largest(values: Any) -> float:
    """The largest finite magnitude, 0 for nothing."""
    size = np.abs(np.asarray(values))
    size = size[np.isfinite(size)]
    return float(size.max()) if size.size else 0.0


def spread_allowed(bench: Bench, name: str, *gradients: Array, gap: float = np.inf) -> float:
    """How far two right computations of the gradient of ``name`` may lie apart, absolute.

    Twice the measured rounding of its worst entry (another layout means another order of summation), and eight
    roundings of the largest number: the same for every entry, and never larger for a larger array.
    gap  how far they do lie apart: what the eight roundings explain is not measured
    """
    always = 8 * bench.eps * max([largest(g) for g in gradients], default=0.0)
    return always + rounding_behind(bench, name, gap, always)


def rounding_behind(bench: Bench, name: str, gap: float, always: float) -> float:
    """Twice the measured rounding of the worst entry of a gradient, absolute.

    0 where a difference of ``gap`` is within what is ``always`` allowed: measuring costs several backward passes.
    """
    return 0.0 if gap <= always else 2 * largest(bench.rounding(name))


def gap_between(a: Array | None, b: Array | None) -> float:
    """The largest finite difference of two gradients; infinite where they cannot be compared."""
    if a is None or b is None or np.shape(a) != np.shape(b):
        return np.inf
    with np.errstate(invalid="ignore"):
        return largest(np.subtract(a, b))


def compared(
    bench: Bench,
    got: Gradients,
    want: Gradients,
    when: str,
    why: str,
    *,
    times: float = 1.0,
    bound: Mapping[str, float] | None = None,
    facts: Mapping[str, Any] | None = None,
    notes: Callable[[str], tuple[str, ...]] = lambda _: (),
) -> Iterator[Measurement]:
    """One measurement per primal: the gradients ``got`` under some variation against ``want`` without it.

    when   names the variation in ``of``;  why  ends the sentence "the gradient of W ..."
    times  factor on the allowed spread;  bound  replaces it, by primal
    """
    for name, b in want.items():
        a = got.get(name)
        told = {"primal": name, **(facts or {})}
        of, sentence = f"{name}: {when}", f"the gradient of {name} {why}"
        if a is None or b is None:
            if (a is None) != (b is None):
                yield count(of, a is not None, f"{sentence} (one of the two is None)", want=b is not None, facts=told)
            continue
        if np.shape(a) != np.shape(b):
            yield shape_measured(of, np.shape(a), np.shape(b), f"{sentence} (another shape)", facts=told)
            continue
        x, y = np.array(a), np.array(b)
        same = ~np.isfinite(x) & ~np.isfinite(y)  # a pole stays a pole; "finite" has the say about it
        x[same] = y[same] = 0
        if not np.all(same):
            gap = largest(x - y) / times
            allowed = bound[name] if bound is not None else times * spread_allowed(bench, name, x, y, gap=gap)
            yield Measurement(of=of, got=x, want=exact(y), rounding=allowed, scale=largest(y), why=sentence, facts=told,
                              notes=notes(name))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Handed(Case):
    """A case that hands out its private copies after ``hand`` has rearranged them (layout, sharing)."""

    hand: Callable[[dict[str, Array]], dict[str, Array]]

    def thawed(self) -> dict[str, Array]:
        return self.hand(super().thawed())


def handed(case: Case, hand: Callable[[dict[str, Array]], dict[str, Array]]) -> Case:
    """``case`` with its primals handed out as ``hand`` returns them; values and shapes stay."""
    return Handed(**{f.name: getattr(case, f.name) for f in fields(Case)}, hand=hand)


def floats(arrays: Arrays) -> dict[str, Array]:
    """The differentiable ones."""
    return {k: v for k, v in arrays.items() if differentiable(v)}


def nearby(case: Case, rng: np.random.Generator, *, step: float = 0.1) -> Case:
    """Another point of the same shapes and signs: every entry moved by up to ``step`` of itself."""
    return case.at(
        {
            k: np.asarray(v * (1 + step * rng.uniform(-1, 1, v.shape)), dtype=v.dtype)
            for k, v in floats(case.primals).items()
        }
    )


def _wide(*arrays: Array) -> type:
    return complex if any(np.iscomplexobj(a) for a in arrays) else float


def equal(a: Out, b: Out, eps: float) -> bool:
    """Whether two outputs agree to within a few roundings of their largest number."""
    x, y = leaves(a), leaves(b)
    return x.keys() == y.keys() and all(
        np.shape(x[k]) == np.shape(y[k])
        and largest(np.subtract(x[k], y[k], dtype=_wide(x[k], y[k]))) <= 8 * eps * largest(y[k])
        for k in x
    )
