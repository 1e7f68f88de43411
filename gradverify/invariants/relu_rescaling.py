"""Positive homogeneity of relu: scale can move between layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.invariants._layers import HOMOGENEOUS, OPS, activations, depth, is_network
from gradverify.invariants._tools import equal, kept, pulled, size, usable, varied, wide
from gradverify.types import Array, Bench, Case, Measurement

ALONE = ("relu", "leaky_relu")
C = 4.0  #: a power of two: nothing is rounded


def applies(case: Case) -> bool:
    """Relu by itself, or a network with a hidden layer after which scale can be taken out again."""
    if case.op in ALONE:
        return True
    return is_network(case) and depth(case) >= 2 and any(_homogeneous(case))


def _homogeneous(case: Case) -> list[bool]:
    return [name in HOMOGENEOUS for name in activations(case)[:-1]]


@registry.invariant("relu-rescaling", applies=applies, ops=(*ALONE, *OPS))
def relu_rescaling(bench: Bench) -> Iterator[Measurement]:
    """relu(c z) = c relu(z): the slope stays, and c can move from one layer to the next with the gradients scaled.

    Why: a backward that uses the value of relu where its slope belongs, or W before it was updated, is not of degree 0.
    Right: ``dz = u * (z > 0)``. Wrong: ``dz = u * np.maximum(z, 0)``.
    """
    case = bench.case
    if not applies(case):
        return
    before = kept(bench.gradients())
    if case.op in ALONE:
        z = case.primals["z"]
        yield from _measured(bench, {"z": np.asarray(C * z, z.dtype)}, {"z": before.get("z")}, f"z times {C:g}")
        return
    for layer, fits in enumerate(_homogeneous(case), start=1):
        if not fits:
            continue
        factor = {f"W{layer}": C, f"b{layer}": C, f"W{layer + 1}": 1 / C}
        moved = {k: np.asarray(f * case.primals[k], case.primals[k].dtype) for k, f in factor.items()}
        want = {k: None if g is None else wide(g) / factor.get(k, 1.0) for k, g in before.items()}
        yield from _measured(bench, moved, want, f"layer {layer} times {C:g}, layer {layer + 1} divided by it")


def _measured(bench: Bench, moved: dict[str, Any], want: dict[str, Array | None], when: str) -> Iterator[Measurement]:
    after = pulled(bench, varied(bench.case, primals=moved), bench.upstream)
    for name, wanted in want.items():
        got = after.get(name)
        if wanted is not None and got is not None and usable(wanted, got):
            terms = C * size(bench.gradients()[name])
            budget = None if name in bench.case.primals else 0.0
            yield equal(bench, name, got, wanted, when, "does not follow a scale that moves through relu",
                        terms=terms, budget=budget)  # fmt: skip
