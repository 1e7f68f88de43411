"""The order of the units in a hidden layer means nothing."""

from __future__ import annotations

from collections.abc import Iterator

from gradverify import registry
from gradverify.invariants._layers import OPS, depth, has_hidden
from gradverify.invariants._tools import equal, kept, pulled, usable, varied
from gradverify.types import Array, Bench, Measurement


@registry.invariant("hidden-permutation", applies=has_hidden, ops=OPS)
def hidden_permutation(bench: Bench) -> Iterator[Measurement]:
    """Hidden units in another order: the loss stays, and the gradients are in that order too.

    Why: rows of W1 and b1 and columns of W2 belong together; a gradient that mixes them up follows another order.
    Right: ``delta1 = (delta2 @ W2) * slope1``. Wrong: ``delta1 = (delta2 @ W2[:, ::-1]) * slope1``.
    """
    case = bench.case
    if not has_hidden(case):
        return
    before = kept(bench.gradients())
    moved: dict[str, Array] = {}
    want = dict(before)
    for layer in range(1, depth(case)):
        order = bench.rng.permutation(case.primals[f"W{layer}"].shape[0])
        if (order[1:] > order[:-1]).all():
            order = order[::-1]
        for name, axis in ((f"W{layer}", 0), (f"b{layer}", 0), (f"W{layer + 1}", 1)):
            moved[name] = moved.get(name, case.primals[name]).take(order, axis=axis)
            gradient = want.get(name)
            want[name] = None if gradient is None else gradient.take(order, axis=axis)
    after = pulled(bench, varied(case, primals=moved), bench.upstream)
    for name, wanted in want.items():
        got = after.get(name)
        if wanted is not None and got is not None and usable(wanted, got):
            yield equal(bench, name, got, wanted, "hidden units in another order", "depends on the order of the units")
