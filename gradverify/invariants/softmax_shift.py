"""A constant added to all logits of a row changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.invariants._layers import depth
from gradverify.invariants._softmax import OPS, applies, classes
from gradverify.invariants._tools import FLOOR, allowed, equal, kept, pulled, size, usable, varied
from gradverify.types import Array, Bench, Measurement


@registry.invariant("softmax-shift", applies=applies, ops=OPS)
def softmax_shift(bench: Bench) -> Iterator[Measurement]:
    """The same constant added to every logit of a row: the gradients stay as they were.

    Why: softmax(z + c) = softmax(z). A backward in which the logits themselves appear, or the maximum that was
    subtracted, is not invariant.
    Right: ``dz = p - y``. Wrong: ``dz = z - y``.
    """
    case = bench.case
    if not applies(case):
        return
    name = "z" if "z" in case.primals else f"b{depth(case)}"
    shifted, moved = _shifted(case.primals[name], classes(case)[name], bench.rng)
    before, after = kept(bench.gradients()), pulled(bench, varied(case, primals={name: shifted}), bench.upstream)
    for k, gradient in before.items():
        got = after.get(k)
        if gradient is None or got is None or not usable(gradient, got):
            continue
        # rounding of z + c, of which no gradient of a softmax can make more than the size of what comes in
        slack = FLOOR * bench.eps * moved * max(size(gradient), size(bench.upstream))
        budget = allowed(bench, k, max(size(gradient), size(got))) + slack
        yield equal(bench, k, got, gradient, "logits plus a constant", "changes with a constant added to all logits",
                    budget=budget)  # fmt: skip


def _shifted(z: Array, axis: int, rng: np.random.Generator) -> tuple[Array, float]:
    """Z plus a whole number per row, as large as z; and the largest magnitude on the way."""
    c = np.round(rng.uniform(1, 2 + 0.5 * size(z), np.sum(z, axis=axis, keepdims=True).shape))
    return np.asarray(z + c, dtype=z.dtype), size(z) + size(c)
