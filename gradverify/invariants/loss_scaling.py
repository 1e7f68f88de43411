"""A loss times a constant has gradients times that constant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.invariants._tools import equal, kept, pulled, size, smallest, usable, wide
from gradverify.types import Bench, Case, Measurement, leaves, like

FACTORS = (4.0, -0.5)  #: powers of two: scaling by them rounds nothing


def applies(case: Case) -> bool:
    """Every case whose backward takes an upstream."""
    return bool(case.primals)


@registry.invariant("loss-scaling", applies=applies, ops=())
def loss_scaling(bench: Bench) -> Iterator[Measurement]:
    """backward(c u) = c backward(u), to the last bit for a power of two.

    Why: what stands above an op scales its upstream, and loss scaling in half precision relies on it.
    Right: ``dz = u * (p - y)``. Wrong: ``dz = p - y``.
    """
    if {"no-upstream", "upstream-optional"} & frozenset(getattr(bench.adapter, "traits", ())):
        return
    before = kept(bench.gradients())
    for c in FACTORS:
        above = like(bench.upstream, {k: np.asarray(c * v, v.dtype) for k, v in leaves(bench.upstream).items()})
        after = pulled(bench, bench.case, above)
        for name, gradient in before.items():
            got = after.get(name)
            if gradient is None or got is None or not usable(gradient, got):
                continue
            # engines may choose another kernel or order of summation between two calls
            budget = 4 * bench.eps * size(c * wide(gradient)) + smallest(bench)
            yield equal(bench, name, got, c * wide(gradient), f"upstream times {c:g}", "does not scale with the loss",
                        budget=budget)  # fmt: skip
