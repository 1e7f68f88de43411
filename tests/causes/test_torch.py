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
