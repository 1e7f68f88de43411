"""Backward written by hand in torch, without autograd: it is handed tensors."""

import numpy as np
import pytest

import gradverify as gv

torch = pytest.importorskip("torch")


def sigmoid(x, W):
    y = torch.sigmoid(x @ W)
    return y, (x, W, y)


def pulled(factor):
    def backward(u, cache):
        x, W, y = cache
        d = factor * u * y * (1 - y)
        return d @ W.T, x.T @ d

    return backward


@pytest.fixture
def primals(rng):
    return {"x": rng.standard_normal((4, 3)), "W": rng.standard_normal((3, 2))}


def tensors(primals):
    return {k: torch.tensor(v) for k, v in primals.items()}


@pytest.mark.parametrize("given", [dict, tensors])
@pytest.mark.parametrize("factor", [1, 2])
def test_two_functions_of_tensors_are_judged_by_autograd_of_the_forward(primals, given, factor):
    report = gv.verify((sigmoid, pulled(factor)), given(primals))
    assert report.verdict == ("pass" if factor == 1 else "fail")
    assert any("torch-autograd" in f.oracle for f in report.findings)


def test_a_function_of_tensors_that_returns_loss_and_named_gradients_is_not_differentiated_by_torch(primals):
    def loss(x, W):
        h = x @ W
        return (h**2).sum(), {"x": 2 * h @ W.T, "W": 3 * x.T @ h}

    report = gv.verify(loss, tensors(primals))
    assert {f.facts.get("primal") for f in report.findings if f.verdict == "fail"} >= {"W"}
    assert not any(f.facts.get("primal") == "x" and f.verdict == "fail" for f in report.findings)


def test_a_function_of_tensors_with_two_outputs_is_differentiated_by_torch(primals):
    report = gv.verify(lambda x, W: ((x @ W).sum(), torch.tanh(x)), tensors(primals))
    assert report.verdict == "pass"


def test_an_upstream_tensor_that_is_overwritten_is_seen(rng):
    def backward(g, x):
        g[x < 0] = 0
        return g

    report = gv.verify((lambda x: (x.clamp(min=0), x), backward), {"x": torch.randn(4, 3)})
    assert "upstream-mutated" in report.causes


def test_labels_become_tensors_too(rng):
    def forward(z, y):
        return -torch.log_softmax(z, 1)[torch.arange(len(y)), y].mean()

    def backward(u, z, y):
        p = torch.softmax(z, 1)
        p[torch.arange(len(y)), y] -= 1
        return u * p / len(y)

    z = rng.standard_normal((4, 3))
    assert gv.verify((forward, backward), {"z": z}, constants={"y": np.array([0, 2, 1, 1])}).verdict == "pass"


def test_numpy_code_that_fails_on_arrays_says_what_it_said_of_arrays(primals):
    def forward(x, W):
        return (x @ W).no_such_method(), None

    with pytest.raises(gv.AdapterError, match=r"'numpy.ndarray' object has no attribute 'no_such_method'"):
        gv.verify((forward, pulled(1)), primals)


class Linear:
    """Tensors as parameters, gradients in attributes."""

    def __init__(self, factor=1):
        draw = torch.Generator().manual_seed(0)
        self.W, self.b = torch.randn(3, 2, generator=draw), torch.randn(2, generator=draw)
        self.factor = factor

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, d):
        self.dW, self.db = self.x.T @ d, self.factor * d.sum(0)
        return d @ self.W.T


@pytest.mark.parametrize("factor", [1, 2])
def test_an_object_that_holds_tensors_is_driven_with_tensors(rng, factor):
    report = gv.verify(Linear(factor), {"x": rng.standard_normal((4, 3)).astype(np.float32)})
    wrong = {f.facts.get("primal") for f in report.findings if f.verdict == "fail"}
    assert wrong == (set() if factor == 1 else {"b"})


def test_the_objects_own_tensors_are_never_changed(rng):
    layer = Linear()
    before = layer.W.clone()
    gv.verify(layer, {"x": rng.standard_normal((4, 3)).astype(np.float32)})
    assert torch.equal(layer.W, before)
    assert not layer.W.requires_grad
    assert not hasattr(layer, "x")


@pytest.mark.parametrize("factor", [1, 2])
def test_an_object_without_parameters_is_given_the_tensors_that_the_caller_has(factor):
    class Tanh:
        def forward(self, x):
            self.y = torch.tanh(x)
            return self.y

        def backward(self, d):
            return factor * d * (1 - self.y**2)

    report = gv.verify(Tanh(), {"x": torch.randn(4, 3, dtype=torch.float64)})
    assert report.verdict == ("pass" if factor == 1 else "fail")
