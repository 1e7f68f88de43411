"""Primals in dicts and lists, as functions of parameters take them."""

from collections import namedtuple

import numpy as np
import pytest

import gradverify as gv
from gradverify.errors import UsageError

RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((5, 4)), RNG.standard_normal((5, 2))
NESTED = {
    "l1": {"W": RNG.standard_normal((4, 3)), "b": RNG.standard_normal(3)},
    "l2": {"W": RNG.standard_normal((3, 2))},
}
LISTED = [RNG.standard_normal((4, 3)), RNG.standard_normal((3, 3)), RNG.standard_normal((3, 2))]


def nested(params, x):
    h = np.tanh(x @ params["l1"]["W"] + params["l1"]["b"])
    return h @ params["l2"]["W"], (h, params, x)


def nested_back(u, cache):
    h, p, x = cache
    d = (u @ p["l2"]["W"].T) * (1 - h * h)
    return {"params": {"l2": {"W": h.T @ u}, "l1": {"W": x.T @ d, "b": d.sum(axis=0)}}, "x": d @ p["l1"]["W"].T}


def listed(ws, x):
    a = [x]
    for w in ws:
        a.append(np.tanh(a[-1] @ w))
    return a[-1], (a, ws)


def listed_back(u, cache):
    a, ws = cache
    found = []
    for w, before, after in zip(ws[::-1], a[-2::-1], a[::-1], strict=False):
        d = u * (1 - after**2)
        found.insert(0, before.T @ d)
        u = d @ w.T
    return found, u


def loss(params, x, y):
    out, cache = nested(params, x)
    found = nested_back((out - y) / len(x), cache)["params"]
    return 0.5 * np.sum((out - y) ** 2) / len(x), found


def gradients(report):
    return {f.facts["primal"] for f in report.findings if f.check == "pullback-matches-oracle" and "primal" in f.facts}


def test_a_nested_dict_is_taken_apart_and_its_arrays_are_named_by_their_path():
    report = gv.verify((nested, nested_back), {"params": NESTED, "x": X})
    assert report.verdict == "pass"
    assert gradients(report) == {"l1_W", "l1_b", "l2_W", "x"}


def test_a_list_of_arrays_is_numbered_and_its_gradients_may_be_a_list():
    report = gv.verify((listed, listed_back), {"ws": LISTED, "x": X})
    assert report.verdict == "pass"
    assert gradients(report) == {"ws_0", "ws_1", "ws_2", "x"}


def with_a_d(u, cache):
    found = nested_back(u, cache)
    inner = {k: {f"d{n}": g for n, g in v.items()} for k, v in found["params"].items()}
    return {**inner, "dx": found["x"]}


@pytest.mark.parametrize(
    "back",
    [
        lambda u, c: tuple(nested_back(u, c).values()),
        lambda u, c: {f"d{k}": v for k, v in nested_back(u, c).items()},
        lambda u, c: {**nested_back(u, c)["params"], "x": nested_back(u, c)["x"]},
        with_a_d,
    ],
    ids=["a tuple", "named dparams", "its entries beside the others", "its entries with a d"],
)
def test_gradients_may_come_in_the_container_or_beside_it(back):
    assert gv.verify((nested, back), {"params": NESTED, "x": X}).verdict == "pass"


def test_a_wrong_array_in_a_container_is_named():
    def wrong(u, cache):
        found = nested_back(u, cache)
        found["params"]["l1"]["b"] = found["params"]["l1"]["b"] / len(X)
        return found

    report = gv.verify((nested, wrong), {"params": NESTED, "x": X})
    fails = [f for f in report.findings if f.verdict == "fail" and f.check == "pullback-matches-oracle"]
    assert [f.facts["primal"] for f in fails] == ["l1_b"]
    assert report.causes[0] == "double-batch-mean"


@pytest.mark.parametrize("subject", [loss, gv.value_and_grad(loss)], ids=["the function", "value_and_grad"])
def test_a_loss_returns_gradients_in_the_container_it_was_given(subject):
    assert gv.verify(subject, {"params": NESTED}, constants={"x": X, "y": Y}).verdict == "pass"


def test_lists_of_gradients_are_told_apart_by_their_shapes():
    biases = [RNG.standard_normal(3), RNG.standard_normal(2)]
    weights = [RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))]

    def backprop(biases, weights, x, y):
        h = np.tanh(x @ weights[0] + biases[0])
        r = h @ weights[1] + biases[1] - y
        d = (r @ weights[1].T) * (1 - h * h)
        return 0.5 * np.sum(r * r), ([x.T @ d, h.T @ r], [d.sum(axis=0), r.sum(axis=0)])

    assert gv.verify(backprop, {"biases": biases, "weights": weights}, constants={"x": X, "y": Y}).verdict == "pass"


def test_a_named_tuple_arrives_as_one():
    Params = namedtuple("Params", ["W", "b"])
    given = Params(RNG.standard_normal((4, 2)), RNG.standard_normal(2))

    def affine(p, x):
        return x @ p.W + p.b, (p, x)

    report = gv.verify((affine, lambda u, c: (Params(c[1].T @ u, u.sum(axis=0)), u @ c[0].W.T)), {"p": given, "x": X})
    assert report.verdict == "pass"


def test_what_is_no_array_stays_in_the_container():
    given = {"W": RNG.standard_normal((4, 2)), "kind": "tanh", "power": 2, "bias": None}

    def powered(cfg, x):
        assert cfg["kind"] == "tanh"
        assert cfg["bias"] is None
        return np.tanh(x @ cfg["W"]) ** cfg["power"], (cfg, x)

    def back(u, cache):
        cfg, x = cache
        t = np.tanh(x @ cfg["W"])
        return {"cfg": {"W": x.T @ (u * cfg["power"] * t ** (cfg["power"] - 1) * (1 - t * t))}, "x": None}

    report = gv.verify((powered, back), {"cfg": given, "x": X}, wrt="cfg")
    assert report.verdict == "pass"
    assert gradients(report) == {"W"}


def test_a_container_goes_by_position_where_no_name_fits():
    assert (
        gv.verify((nested, lambda u, c: tuple(nested_back(u, c).values())), {"p": NESTED, "inputs": X}).verdict
        == "pass"
    )


def test_a_backward_may_take_the_container_again():
    def back(u, params, x):
        return nested_back(u, (np.tanh(x @ params["l1"]["W"] + params["l1"]["b"]), params, x))

    assert gv.verify((lambda params, x: nested(params, x)[0], back), {"params": NESTED, "x": X}).verdict == "pass"


def test_an_object_that_is_no_function_is_told_to_take_arrays():
    class Layer:
        def forward(self, params):
            return params["W"]

        def backward(self, u):
            return u

    with pytest.raises(UsageError, match=r"'params' is a dict of arrays.*Layer is none; give each array a name"):
        gv.verify(Layer(), {"params": {"W": X}})


def test_a_container_without_an_array_is_refused():
    with pytest.raises(UsageError, match="'params' is a dict without an array in it"):
        gv.verify((nested, nested_back), {"params": {"kind": "tanh"}, "x": X})


def test_a_list_of_numbers_is_an_array():
    report = gv.verify((lambda x: np.sum(x**2), lambda u, x: 2 * u * x), {"x": [1.0, -2.0, 0.5]})
    assert report.verdict == "pass"


def test_a_torch_function_takes_a_container():
    torch = pytest.importorskip("torch")

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w, b):
            ctx.save_for_backward(w, b)
            return w * b

        @staticmethod
        def backward(ctx, u):
            w, b = ctx.saved_tensors
            return u * b, u * w

    given = {"w": torch.randn(3, dtype=torch.float64), "b": torch.randn(3, dtype=torch.float64)}
    report = gv.verify(lambda params: Scaled.apply(params["w"], params["b"]), {"params": given})
    assert report.verdict == "pass"
    assert gradients(report) == {"w", "b"}


def test_a_jax_function_takes_a_container():
    jax = pytest.importorskip("jax")

    def scaled(p):
        return jax.numpy.tanh(p["W"]) * p["b"]

    given = {"W": RNG.standard_normal((4, 3)), "b": RNG.standard_normal(3)}
    report = gv.verify(gv.jax_function(scaled), {"p": given})
    assert report.verdict == "pass"
    assert gradients(report) == {"W", "b"}
