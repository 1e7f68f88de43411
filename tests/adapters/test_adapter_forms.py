"""Other forms that people write one operation in: a pullback, static methods with a ctx, nested mappings."""

import numpy as np
import pytest

import gradverify as gv


@pytest.fixture
def primals(rng):
    return {"x": rng.standard_normal((4, 3)), "W": rng.standard_normal((3, 2))}


@pytest.mark.parametrize("factor", [1, 2])
def test_a_function_that_returns_its_pullback_is_driven(primals, factor):
    def layer(x, W):
        y = np.tanh(x @ W)

        def pullback(u):
            d = factor * u * (1 - y**2)
            return d @ W.T, x.T @ d

        return y, pullback

    assert gv.verify(layer, primals).verdict == ("pass" if factor == 1 else "fail")


@pytest.mark.parametrize("factor", [1, 2])
def test_a_class_of_static_methods_with_a_ctx_is_driven(primals, factor):
    class Layer:
        @staticmethod
        def forward(ctx, x, W):
            ctx.save_for_backward(x, W)
            ctx.y = np.tanh(x @ W)
            return ctx.y

        @staticmethod
        def backward(ctx, grad):
            x, W = ctx.saved_tensors
            d = factor * grad * (1 - ctx.y**2)
            return d @ W.T, x.T @ d

    report = gv.verify(Layer, primals)
    assert report.verdict == ("pass" if factor == 1 else "fail")
    assert {f.adapter for f in report.findings} == {"Layer"}


@pytest.mark.parametrize(
    "nested",
    [
        lambda dx, dW: {"inputs": {"x": dx}, "params": {"W": dW}},
        lambda dx, dW: {"grads": {"dW": dW, "dx": dx}},
        lambda dx, dW: {"x": dx, "layer": {"fc": {"W_grad": dW}}},
    ],
)
def test_gradients_in_nested_mappings_are_found_by_their_names(primals, nested):
    def backward(u, cache):
        x, W = cache
        return nested(u @ W.T, x.T @ u)

    assert gv.verify((lambda x, W: (x @ W, (x, W)), backward), primals).verdict == "pass"


def test_the_layer_in_front_tells_two_nested_gradients_of_one_name_apart(rng):
    def loss(fc1_W, fc2_W):
        h = fc1_W @ fc2_W
        return np.sum(h**2), {"fc1": {"W": 2 * h @ fc2_W.T}, "fc2": {"W": 2 * fc1_W.T @ h}}

    report = gv.verify(loss, {"fc1_W": rng.standard_normal((3, 3)), "fc2_W": rng.standard_normal((3, 3))})
    assert report.verdict == "pass"


def test_a_nested_gradient_of_no_primal_is_named_with_its_path(primals):
    def backward(u, cache):
        x, W = cache
        return {"x": u @ W.T, "fc": {"V": x.T @ u}}

    with pytest.raises(gv.AdapterError, match=r"fc\.V"):
        gv.verify((lambda x, W: (x @ W, (x, W)), backward), primals)


def test_a_torch_function_that_works_in_place_and_says_so_is_run_once(rng):
    torch = pytest.importorskip("torch")

    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(0.5)

        @staticmethod
        def backward(ctx, g):
            return 0.5 * g

    report = gv.verify(Halved, {"x": rng.standard_normal((4, 3))})
    assert report.verdict == "pass"


def test_a_cache_of_none_is_no_cache(rng):
    kept = {}

    def forward(x):
        kept["x"] = x
        return x**2, None

    report = gv.verify((forward, lambda u, _: 2 * u * kept["x"]), {"x": rng.standard_normal((4, 3))})
    assert report.verdict == "pass"
    assert "keeps its cache to itself" in str(report)
