"""Axes in front of a primal's own are stacks: the result is that of a loop over single ones."""

from itertools import chain, combinations

import numpy as np
import pytest

from reference_impl import OPS
from tests.reference_impl.op_cases import CASES

S = 3
STACKED = [c for c in CASES if OPS[c.op].stacks(*(np.ndim(v) for v in c.primals.values()))]


def subsets(names):
    return chain.from_iterable(combinations(names, k) for k in {1, len(names)})


PAIRS = [
    (case, chosen)
    for case in STACKED
    for chosen in subsets(
        [n for n, own in zip(OPS[case.op].primals, OPS[case.op].axes, strict=True) if own is not None]
    )
]


def test_every_op_but_those_that_say_so_can_stack():
    assert set(OPS) - {c.op for c in STACKED} == {"clip_by_norm"}


@pytest.mark.parametrize(("case", "chosen"), PAIRS, ids=[f"{c.id}:{'+'.join(n)}" for c, n in PAIRS])
def test_a_stack_equals_a_loop(case, chosen):
    rng = np.random.default_rng(3)
    primals, op = case.arguments(), OPS[case.op]
    stacks = {k: primals[k] * (1 + 0.1 * rng.random((S, *primals[k].shape))) for k in chosen}
    out, pullback = op.vjp({**primals, **stacks, **case.constants})
    upstream = rng.standard_normal(out.shape)
    got = pullback(upstream)
    one_by_one = []
    for s in range(S):
        single, pull = op.vjp({**primals, **{k: v[s] for k, v in stacks.items()}, **case.constants})
        assert np.allclose(out[s], single, rtol=1e-12, atol=1e-13)
        one_by_one.append(pull(upstream[s]))
    for name, gradient in got.items():
        if gradient is not None:
            each = np.array([g[name] for g in one_by_one])
            want = each if name in chosen else each.sum(axis=0)  # a shared primal gets the sum
            assert gradient.shape == want.shape
            assert np.allclose(gradient, want, rtol=1e-11, atol=1e-12), name


def test_primals_with_different_axes_in_front_cannot_be_told_from_stacks():
    assert not OPS["affine"].stacks(3, 2, 1)
    assert not OPS["mse"].stacks(1, 1)
    assert OPS["attention"].stacks(4, 4, 4)


def test_a_stack_of_one_receives_the_sum_over_the_stack_that_it_meets():
    rng = np.random.default_rng(4)
    A, W, b = rng.standard_normal((S, 4, 3)), rng.standard_normal((1, 5, 3)), rng.standard_normal(5)
    Z, pullback = OPS["affine"].fn(A, W, b)
    _, shared = OPS["affine"].fn(A, W[0], b)
    dW = pullback(np.ones_like(Z))[1]
    assert dW.shape == (1, 5, 3)
    assert np.array_equal(dW[0], shared(np.ones_like(Z))[1])
