"""A branch that no entry takes at the given point: another size of the data, at which some do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from gradverify.checks._axes import PARAMETER
from gradverify.checks._elsewhere import bench_of, judged_elsewhere
from gradverify.checks._glance import glance
from gradverify.checks._tools import floats
from gradverify.errors import AdapterError, Unsupported
from gradverify.points import are_one, are_shares
from gradverify.types import Array, Bench, Case, Measurement

POINTS = 2  #: sizes that are tried, the one nearest to the given size first
FARTHEST = 16.0  #: times the given size, or a part of it, beyond which other things than a branch change
WORDS = "where a comparison comes out the other way"


def on_the_other_side(bench: Bench) -> Iterator[Measurement]:
    """The gradient at data so much larger or smaller that a comparison with a number does not come out as for all.

    Signs stay, and so do probabilities, whole numbers, unit vectors and what lies between 0 and 1. Where anything is
    not finite there, nothing is said.
    """
    traced = getattr(getattr(bench, "consultation", None), "autodiff", None)
    factors = [f for f in getattr(traced, "sides", ()) if 1 / FARTHEST <= f <= FARTHEST]
    for factor in sorted(factors, key=lambda f: abs(np.log(f)))[:POINTS]:
        there = _sized(bench, factor)
        if there is None:
            return
        try:
            yield from _judged(bench, there)
        except AdapterError:
            continue


def _judged(bench: Bench, case: Case) -> Iterator[Measurement]:
    other = bench_of(bench, bench.adapter, case)
    gradients = other.gradients()
    if not all(g is None or np.all(np.isfinite(g)) for g in gradients.values()):
        raise Unsupported(f"the gradient is not finite {WORDS}")
    met = glance(bench, other.case, other.upstream, gradients, WORDS)
    yield from [met] if met is not None else list(judged_elsewhere(bench, other, WORDS, point="other side"))


def _sized(bench: Bench, factor: float) -> Case | None:
    """The case with its data times a factor, or its parameters where no data may be; None without either."""
    own: Mapping[str, Array] = getattr(bench.adapter, "parameters", dict)()
    free = {k: v for k, v in floats(bench.case.primals).items() if v.dtype.kind == "f" and _of_any_size(v)}
    data = {k: v for k, v in free.items() if k not in own and not PARAMETER.fullmatch(k)} or free
    if not data:
        return None
    case = bench.case.at({k: np.asarray(factor * v, v.dtype) for k, v in data.items()})
    return replace(case, name=f"{bench.case.name}~side")


def _of_any_size(v: Array) -> bool:
    wide = v.astype(float)
    if not v.size or not np.all(np.isfinite(wide)) or np.array_equal(wide, np.round(wide)):
        return False
    if np.all((wide >= 0) & (wide <= 1)) or (v.ndim and v.shape[-1] > 1 and are_shares(wide)):
        return False
    return not (v.ndim and are_one(wide, np.linalg.norm))
