"""What torch code cannot be driven with is said in one sentence that tells what to write."""

from __future__ import annotations

import numpy as np
import pytest

import gradverify as gv
from gradverify.errors import AdapterError, UsageError

torch = pytest.importorskip("torch")
X = torch.ones(4, 3, dtype=torch.float64)


def function(backward):
    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, k):
            return x * k

    Scaled.backward = staticmethod(backward)
    return Scaled


BACKWARDS = {
    "too few": (lambda ctx, g: g, r"Scaled.backward returned 1 gradients; expected 2, .* in the order x, k"),
    "too many": (lambda ctx, g: (g, None, g), r"Scaled.backward returned 3 gradients; expected 2"),
    "a number": (lambda ctx, g: (2.0, None), r"Scaled.backward returned a float; expected a tensor or None"),
    "an array": (lambda ctx, g: (g.numpy(), None), r"returned a numpy.ndarray; expected a tensor or None"),
    "a mapping": (lambda ctx, g: ({"x": g}, None), r"returned a dict; expected a tensor or None for each of x, k"),
}


@pytest.mark.parametrize(("backward", "words"), BACKWARDS.values(), ids=BACKWARDS)
def test_what_backward_returned_is_said_and_what_is_expected(backward, words):
    with pytest.raises(AdapterError, match=words):
        gv.verify(function(backward), {"x": X}, constants={"k": 2.0})


def test_an_instance_of_a_function_is_told_to_be_given_as_its_class():
    with pytest.raises(UsageError, match=r"give the class itself, gv.verify\(Scaled, primals\)"):
        gv.verify(function(lambda ctx, g: (g, None))(), {"x": X})


def test_a_module_without_shapes_is_told_to_be_called_once():
    with pytest.raises(UsageError, match="LazyLinear has parameters of no shape yet: call it once"):
        gv.verify(torch.nn.LazyLinear(2), {"input": X})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("subject", [torch.nn.ReLU(), function(lambda ctx, g: (g, None))])
def test_a_device_that_is_not_there_is_named(subject):
    with pytest.raises(UsageError, match="device='cuda'"):
        gv.verify(subject, {"x": X}, constants={"k": 2.0}, device="cuda")


@pytest.mark.parametrize("options", [{}, {"dtype": "float32"}])
def test_a_torch_function_that_is_given_arrays_is_told_to_say_so(options):
    def logistic(x, w):
        return torch.sigmoid(x @ w).sum()

    point = {"x": np.ones((3, 2)), "w": np.full((2, 4), 0.3)}
    with pytest.raises(AdapterError, match=r"write gv\.verify\(gv\.torch_module\(logistic\), primals\)"):
        gv.verify(logistic, point, **options)
    assert gv.verify(gv.torch_module(logistic), point).verdict == "pass"
