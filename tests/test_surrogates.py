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
