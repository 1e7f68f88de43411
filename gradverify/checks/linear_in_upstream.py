"""A pullback is a linear map."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._bounded import bounded
from gradverify.checks._tools import (
    combined,
    compared,
    copied,
    drawn_like,
    each,
    gap_between,
    largest,
    rounding_behind,
    snapshot,
    traits,
)
from gradverify.errors import Unsupported
from gradverify.tolerances import tolerance_of
from gradverify.types import Array, Bench, Gradients, Measurement, Out, leaves

ITERATED = 1e-2  #: a backward that is less linear than this does not stop at a tolerance
STEPS_BEHIND = 10.0  #: tolerances that the end of an iteration may be off by
POWER, POWER_32 = 20, 6  #: of two, by which an upstream is made larger and smaller; in float32
ABSOLUTE = 64.0  #: roundings of a gradient that it carries whatever the size of its upstream, as p - (p - lr g) does
LOW = 1e-4  #: a precision coarser than this has no range for that


@registry.check("linear-in-upstream", catches=("upstream-ignored", "extra-term"), requires=("shape", "deterministic"))
def linear_in_upstream(bench: Bench) -> Iterator[Measurement]:
    """pullback(a u + b v) = a pullback(u) + b pullback(v), pullback(0) = 0 exactly, and no size or sign is special.

    Why: whatever the derivative is, the chain rule makes backward linear in what comes from above. An upstream that is
    ignored, used twice, or only compared with zero is found without an oracle; one that is clipped, or dropped where it
    is small, by asking with an upstream a million times as large and one as small, of one sign each. Losses whose
    upstream has a default may ignore it; that is noted as a convention, as is a bound where a sentence declares that
    backward is no derivative.
    Right: ``dx = u * (1 - y**2)``. Wrong: ``dx = 1 - y**2``, ``dx = np.clip(u, -5, 5) * (1 - y**2)``.
    """
    if "no-upstream" in traits(bench):
        raise Unsupported("backward takes no upstream")
    pull = bench.run().pullback
    u = copied(bench.upstream)
    # an upstream that the user gave may be the only kind that is supported (one-hot): then only its multiples are asked
    v = each(u, lambda x: -1.7 * x) if getattr(bench, "own_upstream", False) else drawn_like(u, bench.rng)
    a, b = (float(x) for x in bench.rng.uniform(0.5, 1.5, 2) * (1, -1))
    at_u, at_v = snapshot(pull(copied(u))), snapshot(bench.run().pullback(copied(v)))
    nothing = snapshot(bench.run().pullback(each(u, np.zeros_like)))
    joint = snapshot(bench.run().pullback(combined(a, u, b, v)))
    if "upstream-optional" in traits(bench) and _same(at_u, at_v) and _same(at_u, nothing):
        said = ("backward ignores its upstream (which has a default): a convention of losses, multiply by it yourself",)
        yield from compared(bench, at_v, at_u, "any upstream", "changes with the upstream", notes=lambda _: said)
        return
    zeros = {k: None if g is None else np.where(np.isfinite(g), 0, g) for k, g in at_u.items()}
    yield from compared(
        bench, nothing, zeros, "upstream zero", "is not zero for an upstream of zeros",
        bound=dict.fromkeys(zeros, 0.0), facts={"upstream": "zero"},
    )  # fmt: skip
    want = {k: _sum(a, at_u[k], b, at_v.get(k)) for k in at_u}
    bound = {
        k: _bound(bench, k, gap_between(joint.get(k), want[k]), (a, g), (b, at_v.get(k)))
        for k, g in at_u.items() if g is not None
    }  # fmt: skip
    bound = _iterated(bench, u, joint, want, bound)
    if getattr(bench, "declared", "") and _off(joint, want, bound) and bounded(bench, u):
        said = (
            "backward bounds what it returns (clips it, or divides it by its norm): declared not to be a derivative",
        )
        yield from compared(bench, want, want, "upstream a u + b v", "is bounded", notes=lambda _: said)
        return
    yield from compared(
        bench, joint, want, "upstream a u + b v", "is not linear in the upstream",
        bound=bound,
        facts={"upstream": "sum", "a": a, "b": b},
    )  # fmt: skip
    yield from _of_any_size(bench, u, at_u)


def _of_any_size(bench: Bench, u: Out, at_u: Gradients) -> Iterator[Measurement]:
    """A huge upstream of one sign against a tiny one of the other; powers of two round nothing."""
    if bench.eps > LOW or all(largest(v) == 0 for v in leaves(u).values()):
        return  # the range of float16 is too short
    w = u if getattr(bench, "own_upstream", False) else each(u, np.abs)
    power = POWER if bench.eps < 1e-10 else POWER_32
    c = 2.0**power
    kind: type = np.float64 if bench.eps < 1e-10 else np.float32
    room = float(np.finfo(kind).max) ** 0.5 / c
    if any(largest(v) > room for v in (*leaves(u).values(), *at_u.values()) if v is not None):
        return
    huge = snapshot(bench.run().pullback(each(w, lambda x: np.asarray(-c * x, x.dtype))))
    tiny = snapshot(bench.run().pullback(each(w, lambda x: np.asarray(x / c, x.dtype))))
    got, want = {k: _over(huge.get(k), -c) for k in at_u}, {k: _over(tiny.get(k), 1 / c) for k in at_u}
    beyond = float(np.finfo(kind).tiny) / bench.eps * c  # what has underflowed
    bound = {
        k: _bound(bench, k, gap_between(got[k], g), (1.0, g), (1.0, got[k]))
        + beyond + ABSOLUTE * bench.eps * c * max(1.0, largest(g))
        for k, g in want.items() if g is not None
    }  # fmt: skip
    if _off(got, want, bound) and _stops_at(bench, u):
        return  # a tolerance of its own size is large beside a tiny upstream
    yield from compared(
        bench, got, want, f"upstream times -2^{power} and 2^-{power}",
        "depends on the size or the sign of the upstream: it is clipped, normalised, or left out where it is small",
        bound=bound, facts={"upstream": "scaled", "factor": c},
    )  # fmt: skip


def _over(gradient: Array | None, factor: float) -> Array | None:
    with np.errstate(all="ignore"):
        return None if gradient is None else np.asarray(gradient / factor)


def _bound(bench: Bench, name: str, gap: float, *terms: tuple[float, Array | None]) -> float:
    """Rounding of both sides, which are ``gap`` apart: each pullback carries its own, scaled as it is in the sum."""
    always = 8 * bench.eps * sum(abs(a) * largest(0.0 if g is None else g) for a, g in terms)
    return always + rounding_behind(bench, name, gap, always) * (1 + sum(abs(a) for a, _ in terms))


def _iterated(bench: Bench, u: Out, got: Gradients, want: Gradients, bound: dict[str, float]) -> dict[str, float]:
    """The bounds with the tolerance at which backward stops an iteration of its own: it is linear to about that."""
    off = _off(got, want, bound)
    if not any(gap <= ITERATED * largest(want[k]) for k, gap in off.items()):
        return bound
    within = STEPS_BEHIND * _stops_at(bench, u)
    return {k: b + within * max(1.0, largest(want[k])) for k, b in bound.items()}


def _off(got: Gradients, want: Gradients, bound: dict[str, float]) -> dict[str, float]:
    """The largest difference of each gradient that is beyond its bound."""
    off = {}
    for k, g in want.items():
        other = got.get(k)
        if k in bound and g is not None and other is not None and np.shape(other) == g.shape:
            with np.errstate(invalid="ignore"):
                off[k] = largest(np.subtract(g, other))
    return {k: gap for k, gap in off.items() if gap > bound[k]}


def _stops_at(bench: Bench, u: Out) -> float:
    """The tolerance at which backward stops an iteration of its own, 0 where it has none."""
    return tolerance_of(bench.run().pullback, copied(u), getattr(bench.adapter, "framework", "numpy"))


def _sum(a: float, x: Array | None, b: float, y: Array | None) -> Array | None:
    with np.errstate(all="ignore"):
        return None if x is None or y is None else np.asarray(a * x + b * y)


def _same(x: Gradients, y: Gradients) -> bool:
    return all(
        (g is None) == (y.get(k) is None) and (g is None or np.array_equal(g, np.asarray(y[k]))) for k, g in x.items()
    )
