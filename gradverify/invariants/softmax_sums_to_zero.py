"""A softmax takes no notice of what all classes share, so its gradient has no part there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.invariants._softmax import OPS, applies, classes
from gradverify.invariants._tools import allowed, equal, kept, size, usable, wide
from gradverify.types import Bench, Measurement


@registry.invariant("softmax-sums-to-zero", applies=applies, ops=OPS)
def softmax_sums_to_zero(bench: Bench) -> Iterator[Measurement]:
    """The gradient of the logits sums to zero over the classes, in every row.

    Why: p - y sums to zero, and so does J^T u for any upstream. The element-wise mistake p (1 - p) does not.
    Right: ``dz = p * (u - (u * p).sum(-1, keepdims=True))``. Wrong: ``dz = u * p * (1 - p)``.
    """
    gradients = kept(bench.gradients())
    for name, axis in classes(bench.case).items():
        gradient = gradients.get(name)
        if gradient is None or not usable(gradient):
            continue
        terms = size(np.abs(wide(gradient)).sum(axis=axis))
        rounding = allowed(bench, name, max(terms, size(bench.upstream))) * np.sqrt(gradient.shape[axis])
        total = wide(gradient).sum(axis=axis)
        yield equal(
            bench, name, total, np.zeros_like(total), "sum over the classes", "does not sum to zero over the classes",
            terms=terms, budget=float(rounding),
        )  # fmt: skip
