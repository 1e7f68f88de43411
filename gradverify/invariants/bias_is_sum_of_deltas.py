"""A bias is the weight of an input that is always one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.invariants._layers import OPS as NETWORKS
from gradverify.invariants._layers import depth, is_network
from gradverify.invariants._tools import equal, kept, pulled, single, size, usable, varied, wide
from gradverify.types import Array, Bench, Case, Measurement

#: op -> (bias that is added to the output, axes of the output that share it)
ADDED = {
    "affine": ("b", (0,)),
    "conv2d": ("b", (0, 2, 3)),
    "layer_norm": ("beta", (0,)),
    "batch_norm": ("beta", (0,)),
    "batch_norm_eval": ("beta", (0,)),
    "residual_block": ("b2", (0,)),
}
#: op -> (input, weight, bias): a column of ones in the input makes a column of the weight's gradient the bias's
COLUMNS = {
    "affine": ("A", "W", "b"),
    "rnn": ("X", "Wx", "b"),
    "lstm": ("X", "Wx", "b"),
    **dict.fromkeys(NETWORKS, ("X", "W1", "b1")),
}


def applies(case: Case) -> bool:
    """An op with a bias."""
    return case.op in ADDED or case.op in COLUMNS


@registry.invariant("bias-is-sum-of-deltas", applies=applies, ops=(*ADDED, *COLUMNS))
def bias_is_sum_of_deltas(bench: Bench) -> Iterator[Measurement]:
    """The gradient of a bias is the sum of the deltas, and that of the weight of an input that is always one.

    Why: a bias is shared by all samples (and places); the mean in place of the sum, or one sample's delta, is the
    common mistake.
    Right: ``db = delta.sum(axis=0)``. Wrong: ``db = delta.mean(axis=0)``.
    """
    case, u = bench.case, single(bench.upstream)
    if case.op in ADDED and u is not None:
        name, axes = ADDED[case.op]
        got = kept(bench.gradients()).get(name)
        if got is not None and usable(got):
            want = wide(u).sum(axis=axes)
            terms = size(np.abs(wide(u)).sum(axis=axes))
            yield equal(bench, name, got, want, "sum of the upstream", "is not the sum of the deltas", terms=terms)
    if case.op in COLUMNS and (case.op not in NETWORKS or (is_network(case) and depth(case))):
        yield from _with_ones(bench, case, *COLUMNS[case.op])


def _with_ones(bench: Bench, case: Case, x: str, weight: str, bias: str) -> Iterator[Measurement]:
    ones: Array = np.array(case.primals[x])
    if not ones.size:
        return
    ones[..., 0] = 1
    gradients = pulled(bench, varied(case, primals={x: ones}), bench.upstream)
    dW, got = gradients.get(weight), gradients.get(bias)
    if dW is None or got is None or not usable(dW, got):
        return
    why = f"is not that of the weight {weight} of an input 1"
    yield equal(bench, bias, got, wide(dW)[..., 0], f"{x}[..., 0] = 1", why, terms=size(dW))
