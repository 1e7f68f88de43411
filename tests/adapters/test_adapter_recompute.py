"""Torch modules that run a part of their forward again within backward."""

from __future__ import annotations

import pytest

import gradverify as gv

torch = pytest.importorskip("torch")
checkpoint = pytest.importorskip("torch.utils.checkpoint").checkpoint

N, D, H = 5, 4, 3


class Checkpointed(torch.nn.Module):
    def __init__(self, *, reentrant):
        super().__init__()
        self.first, self.second = torch.nn.Linear(D, H).double(), torch.nn.Linear(H, 2).double()
        self.reentrant = reentrant

    def forward(self, x):
        h = checkpoint(lambda t: torch.tanh(self.first(t)), x, use_reentrant=self.reentrant)
        return self.second(h) + self.second(self.first(x))


def point(seed=0):
    return torch.randn(N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_is_differentiated_as_a_loss_would(reentrant):
    module = Checkpointed(reentrant=reentrant)
    report = gv.verify(module, {"x": point()}, checks=["pullback-matches-oracle"])
    assert report.verdict == "pass"
    assert {f.facts["primal"] for f in report.findings if "primal" in f.facts} >= {"x", "first.weight", "second.bias"}
    assert all(p.grad is None for p in module.parameters())


def test_a_checkpoint_finds_the_parameters_of_the_point_it_is_asked_at(central):
    from gradverify.adapters._adapt import adapt
    from gradverify.types import Case

    adapter = adapt(Checkpointed(reentrant=False), {"x": point()})
    primals = {"x": point().numpy(), **{n: 2 * p for n, p in adapter.parameters().items()}}
    case = Case(name="elsewhere", primals=primals)
    out, pullback = adapter.vjp(case)
    upstream = point(1).numpy()[:, :2]
    got = pullback(upstream)
    assert out.shape == upstream.shape
    for name in primals:
        want = central(adapter, case, upstream, name)
        assert abs(got[name] - want).max() < 1e-7 * max(1.0, abs(want).max())


class Twice(torch.autograd.Function):
    """Keeps no graph: backward runs the block again and lets it leave the gradients of its parameters in .grad."""

    @staticmethod
    def forward(ctx, x, block, factor):
        ctx.x, ctx.block, ctx.factor = x.detach(), block, factor
        with torch.no_grad():
            return block(x)

    @staticmethod
    def backward(ctx, upstream):
        x, block = ctx.x.requires_grad_(), ctx.block
        del ctx.x
        with torch.enable_grad():
            y = block(x)
        torch.autograd.backward(y, ctx.factor * upstream)
        return x.grad, None, None


class Reversible(torch.nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.block = torch.nn.Sequential(torch.nn.Linear(D, H), torch.nn.Tanh()).double()
        self.factor = factor

    def forward(self, x):
        return Twice.apply(x, self.block, self.factor)


def test_parameters_whose_gradient_is_left_in_grad_within_backward_are_judged():
    report = gv.verify(Reversible(), {"x": point()}, checks=["pullback-matches-oracle", "second-call-equal"])
    assert report.verdict == "pass"
    report = gv.verify(Reversible(2.0), {"x": point()}, checks=["pullback-matches-oracle"])
    assert {f.facts["primal"] for f in report.findings if f.verdict == "fail"} == {
        "x",
        "block.0.weight",
        "block.0.bias",
    }


class Freed(torch.autograd.Function):
    """An invertible function that frees its input, writes to .grad itself, and bears no torch.autograd.grad."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.x, ctx.factor = x, factor
        y = 2 * x.detach() + 1
        x.untyped_storage().resize_(0)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, upstream):
        if not torch.autograd._is_checkpoint_valid():
            raise RuntimeError("Freed is not compatible with .grad(), please use .backward()")
        (y,) = ctx.saved_tensors
        ctx.x.untyped_storage().resize_(y.untyped_storage().nbytes())
        with torch.no_grad():
            ctx.x.set_((y - 1) / 2)
        ctx.x.grad = ctx.factor * upstream
        return ctx.factor * upstream, None


@pytest.mark.parametrize(("factor", "verdict"), [(2.0, "pass"), (3.0, "fail")])
def test_a_module_that_frees_its_input_and_fills_it_again_is_judged(factor, verdict):
    class Doubled(torch.nn.Module):
        def forward(self, x):
            return Freed.apply(x, factor)

    report = gv.verify(Doubled(), {"x": point()}, checks=["pullback-matches-oracle"], device="cpu")
    assert report.verdict == verdict


def test_the_old_name_of_saved_tensors_is_known_outside_the_engine():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, upstream):
            (x,) = ctx.saved_variables
            return 2 * x * upstream

    assert gv.verify(Square, {"x": point()}).verdict == "pass"
