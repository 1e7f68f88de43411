"""Causes of torch code: single precision inside, a step that is passed straight through."""

from __future__ import annotations

import pytest

import gradverify as gv

torch = pytest.importorskip("torch")


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        centred = x - x.mean(-1, keepdim=True)
        r = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt()
        ctx.save_for_backward(centred * r, r)
        return centred * r

    @staticmethod
    def backward(ctx, g):
        xh, r = ctx.saved_tensors
        g = g.float()
        return (r * (g - g.mean(-1, keepdim=True) - xh * (g * xh).mean(-1, keepdim=True))).double()


def test_sums_in_float32_depend_on_their_order_and_are_called_dtype_not_layout():
    report = gv.verify(Normalised, {"x": drawn(3, 4, 6)})
    assert report.verdict == "fail"
    assert report.causes == ["dtype"]


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, g):
        return g


def test_a_step_passed_straight_through_is_told_of_surrogate():
    report = gv.verify(Rounded, {"x": drawn(5, 4)})
    assert report.verdict == "fail"
    assert "missing-term" not in report.causes
    assert "surrogate=" in str(report)


class Matmul(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, g.T @ x


def test_a_gradient_of_the_transposed_shape_is_a_fail_and_called_so_whoever_computes():
    point = {"x": drawn(4, 3), "w": drawn(3, 2, seed=1)}
    arrays = {k: v.numpy() for k, v in point.items()}
    numpy_code = (lambda x, w: (x @ w, (x, w)), lambda g, cache: (g @ cache[1].T, g.T @ cache[0]))
    for report in (gv.verify(Matmul, point), gv.verify(numpy_code, arrays)):
        assert report.verdict == "fail"
        assert report.causes == ["transposed"]
        assert "(2, 3)" in str(report)
