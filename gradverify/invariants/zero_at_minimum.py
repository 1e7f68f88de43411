"""At a minimum of the loss there is nothing to descend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.invariants._layers import is_network, loss, target
from gradverify.invariants._tools import FLOOR, equal, kept, pulled, single, size, smallest, usable, varied, wide
from gradverify.types import Array, Bench, Case, Measurement

REGRESSION = ("half_squared_error", "mse", "huber")
LOGITS = ("bce_with_logits", "softmax_cross_entropy", "softmax_cross_entropy_two_step")
NETWORKS = ("network", "two_layer")


def applies(case: Case) -> bool:
    """A loss, or a network that ends in squares."""
    return case.op in (*REGRESSION, *LOGITS) or (case.op in NETWORKS and loss(case) == "half_squared_error")


@registry.invariant("zero-at-minimum", applies=applies, ops=(*REGRESSION, *LOGITS, *NETWORKS))
def zero_at_minimum(bench: Bench) -> Iterator[Measurement]:
    """Prediction equal to target: every gradient is zero.

    Why: a term added to the gradient (weight decay, an offset, a probability that is not p - y) has no zero there.
    Right: ``dz = p - y``. Wrong: ``dz = p``.
    """
    case, u = bench.case, single(bench.upstream)
    if u is None or not applies(case):
        return
    if is_network(case):
        yield from _network(bench, case, u)
        return
    before = kept(bench.gradients())
    after = pulled(bench, varied(case, **_minimum(case)), bench.upstream)
    held = max((size(case.primals[k]) for k in case.primals), default=0.0) if case.op in REGRESSION else 1.0
    for name, got in after.items():
        if got is None or not usable(got):
            continue
        # equal numbers differ by nothing; a softmax equals itself to a few roundings of 1
        budget = smallest(bench) if case.op in REGRESSION else FLOOR * bench.eps * size(u)
        scale = max(size(before.get(name)) if before.get(name) is not None else 0.0, size(u), held * size(u))
        yield equal(bench, name, got, np.zeros_like(got), "at the minimum", "is not zero where the loss is smallest",
                    terms=scale, budget=budget)  # fmt: skip


def _minimum(case: Case) -> dict[str, dict[str, Any]]:
    """The target that the prediction hits, in the argument where it belongs."""
    if case.op in REGRESSION:
        return {"primals": {"Y": case.primals["A"]}}
    z = wide(case.primals["z"])
    if case.op == "bce_with_logits":
        y = np.exp(-np.logaddexp(0, -z))
    else:
        y = np.exp(z - z.max(axis=-1, keepdims=True))
        y = y / y.sum(axis=-1, keepdims=True)
    return {"constants": {"y": np.asarray(y, dtype=case.primals["z"].dtype)}}


def _network(bench: Bench, case: Case, u: Array) -> Iterator[Measurement]:
    """The prediction is read off the gradient of the target, dL/dy = -(a - y) u / B."""
    name = target(case)
    y = case.primals.get(name)
    before = kept(bench.gradients())
    dy = before.get(name)
    if y is None or dy is None or not usable(dy) or not abs(float(u)) > 0:
        return
    n = 1 if case.constants.get("reduction", "mean") == "sum" else y.shape[0]
    at = wide(y) - n * wide(dy) / float(u)
    after = pulled(bench, varied(case, primals={name: np.asarray(at, dtype=y.dtype)}), bench.upstream)
    # gradients are proportional to a - y: targets at a known distance say how steep, rounding says what is left
    distance = 1.0 + size(at)
    steep: dict[str, float] = {}
    for off in _beside(at, distance):
        for k, g in pulled(bench, varied(case, primals={name: np.asarray(off, dtype=y.dtype)}), bench.upstream).items():
            steep[k] = steep.get(k, 0.0) + (size(g) if g is not None else 0.0)
    for k, got in after.items():
        if got is None or k not in steep or not usable(got):
            continue
        budget = FLOOR * bench.eps * (size(at) + size(y)) / distance * steep[k] + smallest(bench)
        yield equal(bench, k, got, np.zeros_like(got), "at the minimum", "is not zero where the loss is smallest",
                    terms=steep[k], budget=budget)  # fmt: skip


def _beside(at: Array, distance: float) -> Iterator[Array]:
    """Targets that miss the prediction in one entry each, the first of very many: nothing can cancel."""
    for i in range(min(at.size, 32)):
        off = at.copy()
        off.flat[i] += distance
        yield off
