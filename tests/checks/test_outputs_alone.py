"""A loss that uses one of several outputs gets the gradient of that one."""

from __future__ import annotations

import pytest

import gradverify as gv

torch = pytest.importorskip("torch")


def drawn(seed):
    return torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Pair(torch.autograd.Function):
    """(a b, sin a + b), with None for the upstream of an output that is not used."""

    @staticmethod
    def forward(ctx, a, b, bug):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(a, b)
        ctx.bug = bug
        return a * b, a.sin() + b

    @staticmethod
    def backward(ctx, g1, g2):
        a, b = ctx.saved_tensors
        if ctx.bug == "raises":
            return g1 * b + g2 * a.cos(), g1 * a + g2, None
        if ctx.bug == "all or nothing" and (g1 is None or g2 is None):
            return None, None, None
        da = db = torch.zeros_like(a)
        if g1 is not None:
            da, db = da + g1 * b, db + g1 * a
        if g2 is not None:
            da, db = da + g2 * a.cos(), db + g2
        if ctx.bug == "first only" and g2 is None:
            da = 2 * da
        return da, db, None


@pytest.mark.parametrize("bug", ["raises", "all or nothing", "first only"])
def test_a_backward_that_counts_on_every_output_is_failed(bug):
    report = gv.verify(Pair, {"a": drawn(0), "b": drawn(1)}, constants={"bug": bug})
    assert report.verdict == "fail", report
    assert report.causes == ["needs-grad-subset"]
    assert "alone in the loss" in str(report)


def test_a_backward_that_takes_none_for_zeros_passes():
    assert gv.verify(Pair, {"a": drawn(0), "b": drawn(1)}, constants={"bug": ""}).verdict == "pass"


class Shared(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w, self.v = (torch.nn.Parameter(drawn(i)) for i in (1, 2))

    def forward(self, x):
        return {"w": x * self.w, "both": (x * self.v).sum(), "index": x.argmax()}


def test_an_output_that_does_not_depend_on_a_parameter_leaves_it_a_zero_gradient():
    assert gv.verify(Shared(), {"x": drawn(3)}).verdict == "pass"
