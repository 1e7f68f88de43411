"""Arithmetic that is coarser than its dtype says is judged to what it is, and not to what the dtype promises."""

import numpy as np
import pytest

import gradverify as gv

RNG = np.random.default_rng(0)
POINT = {"x": RNG.standard_normal((6, 5)).astype(np.float32), "W": RNG.standard_normal((5, 4)).astype(np.float32)}


def tf32(a):
    """Ten bits of the mantissa of a float32, as a tensor core takes its inputs; a float64 is left alone."""
    if a.dtype != np.float32:
        return a
    return (np.ascontiguousarray(a).view(np.int32) & np.int32(~0x1FFF)).view(np.float32)


def forward(x, W):
    return tf32(x) @ tf32(W), (x, W)


def backward(factor=1.0):
    def pull(g, cache):
        x, W = cache
        return np.float32(factor) * (tf32(g) @ tf32(W).T), tf32(x).T @ tf32(g)

    return pull


def test_a_product_on_tensor_cores_passes_and_the_report_says_how_coarse_it_is():
    report = gv.verify((forward, backward()), POINT)
    assert report.verdict == "pass"
    assert any("times coarser than rounding of its dtype" in n for f in report.findings for n in f.notes)


def test_a_gradient_that_is_off_by_more_than_its_tensor_cores_still_fails():
    assert gv.verify((forward, backward(1.05)), POINT).verdict == "fail"


def test_plain_float32_is_not_taken_for_coarse():
    plain = lambda x, W: (x @ W, (x, W))  # noqa: E731  (a forward as data)
    wrong = lambda g, c: (np.float32(1.0001) * (g @ c[1].T), c[0].T @ g)  # noqa: E731
    assert gv.verify((plain, wrong), POINT).verdict == "fail"
    right = lambda g, c: (g @ c[1].T, c[0].T @ g)  # noqa: E731
    report = gv.verify((plain, right), POINT)
    assert report.verdict == "pass"
    assert not [n for f in report.findings for n in f.notes if "coarser" in n]


@pytest.mark.parametrize("factor", [1.0, 1.05])
def test_a_torch_function_on_tensor_cores(factor):
    torch = pytest.importorskip("torch")

    def cut(a):
        return (a.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32) if a.dtype == torch.float32 else a

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, W):
            ctx.save_for_backward(x, W)
            return cut(x) @ cut(W)

        @staticmethod
        def backward(ctx, g):
            x, W = ctx.saved_tensors
            return factor * (cut(g) @ cut(W).T), cut(x).T @ cut(g)

    assert gv.verify(Product, POINT).verdict == ("pass" if factor == 1 else "fail")
