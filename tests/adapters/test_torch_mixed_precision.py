"""Casts that the forward makes by itself: autocast, half and float32 inside; right ones pass, wrong ones are seen."""

from __future__ import annotations

import pytest

import gradverify as gv

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Net(nn.Module):
    """Two layers; ``share`` of the gradient of the first one is lost where it is below 1."""

    def __init__(self, first, share=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 3)
        self.first, self.share = first, share

    def forward(self, x):
        h = self.first(self.a, x)
        return self.b(share_of(h, self.share)).to(x.dtype)


def share_of(h, share):
    return h if share == 1.0 else share * h + (1 - share) * h.detach()


def autocast(a, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return torch.tanh(a(x)).float()


def halves(a, x):
    return torch.tanh((x.half() @ a.weight.half().t()).float() + a.bias)


def stored(a, x):
    return torch.tanh(a(x)).bfloat16().float()


@pytest.mark.parametrize("first", [autocast, halves, stored])
def test_a_forward_that_casts_passes_and_the_report_says_so(first):
    report = gv.verify(Net(first), {"x": drawn(4, 6)})
    assert report.verdict == "pass", str(report)
    assert any("casts to a type with a unit roundoff" in n for f in report.findings for n in f.notes)


@pytest.mark.parametrize("first", [autocast, halves, stored])
def test_a_tenth_of_the_gradient_that_is_lost_beside_casts_is_seen(first):
    report = gv.verify(Net(first, 0.9), {"x": drawn(4, 6)})
    assert report.verdict == "fail"
    assert report.causes[0] in ("scale", "detached")


class Softmax(nn.Module):
    def __init__(self, share=1.0):
        super().__init__()
        self.share = share

    def forward(self, x):
        return share_of(torch.softmax(x, -1, dtype=torch.float32).to(x.dtype), self.share)


def test_float32_inside_a_forward_in_float64_is_judged_to_float32():
    assert gv.verify(Softmax(), {"x": drawn(4, 6).double()}).verdict == "pass"
    assert gv.verify(Softmax(0.9999), {"x": drawn(4, 6).double()}).verdict == "fail"


class Saved(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x.bfloat16(), w)
        return x.tanh() @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        t = x.float().tanh()
        return (g @ w.t()) * (1 - t * t), t.t() @ g


def test_what_is_cast_to_be_saved_alone_excuses_nothing():
    report = gv.verify(Saved, {"x": drawn(4, 6), "w": drawn(6, 3, seed=1)})
    assert report.verdict == "fail"


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return F.softmax(self.q(x) @ self.k(x).t() / 6**0.5, -1) @ x


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_bias_of_keys_whose_gradient_is_zero_passes_in_half_precision(dtype):
    assert gv.verify(Attention(), {"x": drawn(4, 6)}, dtype=dtype).verdict == "pass"
