"""A backward that is deliberately not the derivative of its forward."""

import numpy as np
import pytest

import gradverify as gv
from gradverify.errors import AdapterError, UsageError
from gradverify.surrogates import Surrogate, truth_of
from gradverify.types import Case

X = np.array([[0.3, -0.8, 1.4], [0.9, -0.1, -1.6]])
ADAPTER = gv.functions(lambda x: (np.sign(x), x), lambda u, x: {"x": u * (np.abs(x) < 1)}, name="binarise")
CASE = Case(name="c", primals={"x": X})


def test_without_a_surrogate_nothing_changes():
    assert truth_of(None, ADAPTER, CASE) == (None, "")


def test_a_function_becomes_a_forward_that_has_no_backward():
    truth, unjudged = truth_of(lambda x: np.clip(x, -1, 1), ADAPTER, CASE)
    assert unjudged == ""
    assert np.array_equal(truth.evaluate(CASE), np.clip(X, -1, 1))
    with pytest.raises(AdapterError, match="only a forward"):
        truth.vjp(CASE)


def test_a_sentence_is_the_reason():
    assert truth_of("hard tanh, on purpose", ADAPTER, CASE) == (
        None,
        "declared a surrogate gradient: hard tanh, on purpose",
    )


@pytest.mark.parametrize("nothing", ["", "  ", 3, ["x"]])
def test_what_is_neither_is_refused(nothing):
    with pytest.raises(UsageError, match="surrogate"):
        truth_of(nothing, ADAPTER, CASE)


def test_it_bears_the_name_of_what_it_stands_for():
    assert Surrogate(np.tanh, ADAPTER).name == "surrogate of binarise"


@pytest.mark.parametrize(("surrogate", "verdict"), [(lambda x: np.clip(x, -1, 1), "pass"), (np.tanh, "fail")])
def test_the_gradient_is_judged_as_that_of_the_surrogate(surrogate, verdict):
    report = gv.verify(ADAPTER, {"x": X}, surrogate=surrogate, level="quick", checks=["pullback-matches-oracle"])
    assert report.verdict == verdict


@pytest.mark.parametrize(("name", "verdict"), [("clamp", "pass"), ("tanh", "fail")])
def test_a_torch_function_has_a_surrogate_in_torch(name, verdict):
    torch = pytest.importorskip("torch")

    class Binarise(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.sign(x)

        @staticmethod
        def backward(ctx, u):
            (x,) = ctx.saved_tensors
            return u * (x.abs() < 1)

    surrogate = {"clamp": lambda x: torch.clamp(x, -1, 1), "tanh": torch.tanh}[name]
    report = gv.verify(Binarise, {"x": X}, surrogate=surrogate, level="quick", checks=["pullback-matches-oracle"])
    assert report.verdict == verdict


class Quantise:
    """Rounding to multiples of a learned step: right by LSQ, or wrong in the step, or dead."""

    @staticmethod
    def function(bug):
        torch = pytest.importorskip("torch")

        class Quantised(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, s):
                ctx.save_for_backward(x, s)
                return torch.round(x / s) * s

            @staticmethod
            def backward(ctx, g):
                x, s = ctx.saved_tensors
                z = x / s
                ds = (g * (z.round() if bug == "step" else z.round() - z)).sum()
                return torch.zeros_like(g) if bug == "dead" else g, ds

        return Quantised


@pytest.mark.parametrize(("bug", "verdict"), [("", "pass"), ("step", "fail"), ("dead", "fail")])
def test_a_surrogate_that_detaches_means_its_autograd(bug, verdict):
    torch = pytest.importorskip("torch")

    def straight_through(x, s):
        z = x / s
        return (z + (z.round() - z).detach()) * s

    point = {"x": X, "s": np.array(0.3)}
    report = gv.verify(Quantise.function(bug), point, surrogate=straight_through)
    assert report.verdict == verdict, report
    assert torch.is_grad_enabled()


def test_a_surrogate_may_be_a_module_with_the_same_parameters():
    torch = pytest.importorskip("torch")
    quantised = Quantise.function("")

    class Layer(torch.nn.Module):
        def __init__(self, straight):
            super().__init__()
            self.inner = torch.nn.Linear(3, 2).double()
            self.straight = straight

        def forward(self, x):
            w = self.inner.weight
            one = torch.ones((), dtype=w.dtype)
            w = w + (w.round() - w).detach() if self.straight else quantised.apply(w, one)
            return torch.nn.functional.linear(x, w, self.inner.bias)

    report = gv.verify(Layer(False), {"x": X}, surrogate=Layer(True))
    assert report.verdict == "pass", report
