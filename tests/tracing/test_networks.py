"""The forwards that people write: each traces unchanged, and its gradients are those of differences."""

from __future__ import annotations

import numpy as np
import pytest

from gradverify.tracing import trace
from tests.tracing.support import assert_traced

rng = np.random.default_rng(11)


def draw(**shapes):
    return {k: rng.standard_normal(s) for k, s in shapes.items()}


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def relu_network(p):
    """Softmax cross-entropy on top of relu, with range indexing."""
    y = np.array([0, 2, 1, 2])
    h = np.maximum(0, p["X"] @ p["W1"].T + p["b1"])
    scores = h.dot(p["W2"]) + p["b2"]
    scores -= np.max(scores, axis=1, keepdims=True)
    probs = np.exp(scores) / np.sum(np.exp(scores), axis=1, keepdims=True)
    loss = -np.log(probs[range(4), y])
    return np.sum(loss) / 4 + 0.5 * 1e-2 * (np.sum(p["W1"] * p["W1"]) + np.sum(p["W2"] ** 2))


def conv_by_loops(p):
    x = np.pad(p["x"], ((0, 0), (0, 0), (1, 1), (1, 1)), mode="constant")
    w, b = p["w"], p["b"]
    n, _, h, width = x.shape
    f, _, k, _ = w.shape
    out = np.zeros((n, f, (h - k) // 2 + 1, (width - k) // 2 + 1))
    for i in range(n):
        for c in range(f):
            for r in range(out.shape[2]):
                for s in range(out.shape[3]):
                    window = x[i, :, r * 2 : r * 2 + k, s * 2 : s * 2 + k]
                    out[i, c, r, s] = np.sum(window * w[c]) + b[c]
    return out


def conv_by_im2col(p):
    x, w = p["x"], p["w"]
    n, c, h, width = x.shape
    f, _, k, _ = w.shape
    oh, ow = h - k + 1, width - k + 1
    i0 = np.tile(np.repeat(np.arange(k), k), c)
    i1 = np.repeat(np.arange(oh), ow)
    j0 = np.tile(np.arange(k), k * c)
    j1 = np.tile(np.arange(ow), oh)
    i, j = i0.reshape(-1, 1) + i1.reshape(1, -1), j0.reshape(-1, 1) + j1.reshape(1, -1)
    d = np.repeat(np.arange(c), k * k).reshape(-1, 1)
    cols = x[:, d, i, j].transpose(1, 2, 0).reshape(k * k * c, -1)
    out = w.reshape(f, -1) @ cols + p["b"].reshape(-1, 1)
    return out.reshape(f, oh, ow, n).transpose(3, 0, 1, 2)


def conv_by_windows(p):
    windows = np.lib.stride_tricks.sliding_window_view(p["x"], (3, 3), axis=(2, 3))
    return np.einsum("nchwij,fcij->nfhw", windows, p["w"]) + p["b"][:, None, None]


def max_pool_by_reshape(p):
    n, c, h, w = p["x"].shape
    return p["x"].reshape(n, c, h // 2, 2, w // 2, 2).max(axis=3).max(axis=4)


def max_pool_by_loops(p):
    x = p["x"]
    out = np.empty((2, 2, 2, 2))
    for r in range(2):
        for s in range(2):
            out[:, :, r, s] = np.max(x[:, :, 2 * r : 2 * r + 2, 2 * s : 2 * s + 2], axis=(2, 3))
    return out


def lstm(p):
    h, c = np.zeros((2, 3)), np.zeros((2, 3))
    states = []
    for t in range(p["x"].shape[1]):
        a = p["x"][:, t] @ p["Wx"] + h @ p["Wh"] + p["bias"]
        i, f, o, g = np.split(a, 4, axis=1)
        i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
        c = f * c + i * g
        h = o * np.tanh(c)
        states.append(h)
    return np.stack(states, axis=1)


def rnn_into_a_buffer(p):
    n, t, _ = p["x"].shape
    h = np.zeros((n, t + 1, 3))
    for k in range(t):
        h[:, k + 1, :] = np.tanh(p["x"][:, k] @ p["Wx"][:, :3] + h[:, k, :] @ p["Wh"][:, :3])
    return h[:, 1:]


def batch_norm(p):
    mu = p["x"].mean(axis=0)
    var = p["x"].var(axis=0)
    return p["gamma"] * (p["x"] - mu) / np.sqrt(var + 1e-5) + p["beta"]


def layer_norm(p):
    x = p["x"]
    mu = np.mean(x, axis=-1, keepdims=True)
    centred = x - mu
    std = (np.mean(centred**2, axis=-1, keepdims=True) + 1e-5) ** 0.5
    return centred / std * p["gamma"] + p["beta"]


def attention(p):
    n, t, d = p["x"].shape
    q, k, v = (np.matmul(p["x"], p[w]).reshape(n, t, 2, d // 2).swapaxes(1, 2) for w in ("Wq", "Wk", "Wv"))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(d // 2)
    scores = np.where(np.tril(np.ones((t, t))) == 0, -1e9, scores)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ v).transpose(0, 2, 1, 3).reshape(n, t, d)


def embedding_with_its_gradient(p):
    """A forward that runs a backward inside, np.add.at included."""
    ids = np.array([[0, 2, 2], [1, 0, 3]])
    rows = p["E"][ids]
    upstream = np.tanh(rows)
    grad = np.zeros_like(p["E"])
    np.add.at(grad, ids, upstream)
    return grad * p["E"]


def dropout(p):
    mask = (np.random.default_rng(0).random(p["x"].shape) < 0.5) / 0.5
    return np.tanh(p["x"]) * mask


def legacy_dropout(p):
    np.random.seed(0)  # noqa: NPY002 - as users do
    keep = np.random.rand(*p["x"].shape) < 0.8  # noqa: NPY002
    out = p["x"] * keep
    out /= 0.8
    return out


def stable_sigmoid(p):
    x = p["x"]
    out = np.empty_like(x)
    pos = x >= 0
    out[pos] = 1 / (1 + np.exp(-x[pos]))
    e = np.exp(x[~pos])
    out[~pos] = e / (1 + e)
    return out


def gelu(p):
    x = p["x"]
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * np.power(x, 3))))


def hinge(p):
    y = np.array([0, 3, 1, 2])
    correct = p["x"][np.arange(4), y][:, np.newaxis]
    margins = np.maximum(0, p["x"] - correct + 1.0)
    margins[np.arange(4), y] = 0
    return np.sum(margins) / 4


def huber(p):
    a = np.abs(p["x"])
    return np.where(a <= 1, 0.5 * p["x"] ** 2, a - 0.5).mean()


def binary_cross_entropy(p):
    y = np.array([[0, 1, 1, 0]])
    a = np.clip(sigmoid(p["x"]), 1e-12, 1 - 1e-12)
    return -np.mean(y * np.log(a) + (1 - y) * np.log(1 - a))


def layers_in_a_dictionary(p):
    """Andrew Ng's columns, caches in lists and dictionaries."""
    caches = []
    A = p["x"].T
    parameters = {"W1": p["W1"], "b1": p["b1"].reshape(-1, 1)}
    Z = np.dot(parameters["W1"], A) + parameters["b1"]
    caches.append((A, Z))
    assert Z.shape == (parameters["W1"].shape[0], A.shape[1])
    A = np.maximum(0, Z)
    cost = -1 / A.shape[1] * np.sum(np.log(A + 1.5))
    return np.squeeze(cost)


def cosine_similarity(p):
    x = p["x"] / np.linalg.norm(p["x"], axis=1, keepdims=True)
    return x @ x.T


def pairwise_distances(p):
    d = p["x"][:, None, :] - p["x"][None]
    sq = np.sum(d**2, axis=-1)
    return np.exp(-sq / 2)


def group_norm(p):
    n, c, h, w = p["x"].shape
    g = p["x"].reshape(n, 1, c, h, w)
    g = (g - g.mean(axis=(2, 3, 4), keepdims=True)) / np.sqrt(g.var(axis=(2, 3, 4), keepdims=True) + 1e-5)
    return g.reshape(n, c, h, w) * p["b"][:2].reshape(1, 2, 1, 1)


def gaussian_elimination(p):
    a = p["A"] + 4 * np.eye(3)
    n = len(a)
    for k in range(n):
        for i in range(k + 1, n):
            factor = a[i, k] / a[k, k]
            a[i, k:] -= factor * a[k, k:]
    return np.prod(np.diag(a))


def newton_iterations(p):
    x = np.ones_like(p["v"])
    while np.max(np.abs(x * x - np.abs(p["v"]) - 1)) > 1e-13:
        x = 0.5 * (x + (np.abs(p["v"]) + 1) / x)
    return x


IMAGE = {"x": (2, 2, 4, 4), "w": (3, 2, 3, 3), "b": (3,)}
CASES = [
    (relu_network, {"X": (4, 3), "W1": (5, 3), "b1": (5,), "W2": (5, 3), "b2": (3,)}),
    (conv_by_loops, IMAGE), (conv_by_im2col, IMAGE), (conv_by_windows, IMAGE),
    (max_pool_by_reshape, {"x": (2, 2, 4, 4)}), (max_pool_by_loops, {"x": (2, 2, 4, 4)}),
    (lstm, {"x": (2, 3, 4), "Wx": (4, 12), "Wh": (3, 12), "bias": (12,)}),
    (rnn_into_a_buffer, {"x": (2, 3, 4), "Wx": (4, 12), "Wh": (3, 12)}),
    (batch_norm, {"x": (5, 3), "gamma": (3,), "beta": (3,)}),
    (layer_norm, {"x": (2, 5, 3), "gamma": (3,), "beta": (3,)}),
    (attention, {"x": (2, 3, 4), "Wq": (4, 4), "Wk": (4, 4), "Wv": (4, 4)}),
    (embedding_with_its_gradient, {"E": (4, 3)}), (dropout, {"x": (3, 4)}), (legacy_dropout, {"x": (3, 4)}),
    (stable_sigmoid, {"x": (3, 4)}), (gelu, {"x": (3, 4)}), (hinge, {"x": (4, 4)}), (huber, {"x": (3, 4)}),
    (binary_cross_entropy, {"x": (3, 4)}), (layers_in_a_dictionary, {"x": (4, 3), "W1": (5, 3), "b1": (5,)}),
    (cosine_similarity, {"x": (3, 4)}), (pairwise_distances, {"x": (3, 4)}),
    (group_norm, {"x": (2, 2, 4, 4), "b": (3,)}),
    (gaussian_elimination, {"A": (3, 3)}), (newton_iterations, {"v": (4,)}),
]  # fmt: skip


@pytest.mark.parametrize(("forward", "shapes"), CASES, ids=[f.__name__ for f, _ in CASES])
def test_a_forward_as_people_write_it_traces(forward, shapes):
    primals = draw(**shapes)
    result = assert_traced(forward, atol=1e-6, **primals)
    v = draw(**{k: np.shape(x) for k, x in primals.items()})
    upstream = rng.standard_normal(np.shape(result.out))
    pulled = sum(np.sum(g * v[k]) for k, g in result.vjp(upstream).items())
    assert np.allclose(np.sum(result.jvp(v) * upstream), pulled, rtol=1e-10, atol=1e-10)


def test_a_forward_on_an_object_with_cached_state_traces():
    class Linear:
        def __init__(self, W, b):
            self.params = {"W": W, "b": b}

        def forward(self, x):
            self.cache = x
            return np.tanh(x @ self.params["W"] + self.params["b"])

    primals = draw(x=(4, 3), W=(3, 2), b=(2,))
    assert_traced(lambda p: Linear(p["W"], p["b"]).forward(p["x"]), **primals)


def test_a_closure_over_a_local_numpy_and_an_import_inside_the_forward_trace():
    import numpy as local
    from numpy import zeros

    def forward(p):
        import math

        import numpy as inner

        out = zeros(4)
        out[0] = p["x"][0]
        other = inner.zeros(4)
        other[1] = math.tanh(p["x"][1])
        third = local.empty(4)
        third[:] = p["x"] ** 2
        return out + other + third

    assert_traced(forward, **draw(x=(4,)))
    assert local is np
    assert zeros is np.zeros


def test_a_dictionary_of_outputs_has_a_dictionary_of_upstreams():
    def call(p, c):
        return {"loss": np.sum(p["x"] ** 2), "h": np.tanh(p["x"]), "n": np.array(3.0)}, "cache"

    x = rng.standard_normal(3)
    result = trace(call, {"x": x}, {})
    grads = result.vjp({"loss": np.array(2.0), "h": np.ones(3), "n": np.array(1.0)})
    assert np.allclose(grads["x"], 4 * x + 1 - np.tanh(x) ** 2)
    assert np.allclose(result.jvp({"x": np.ones(3)})["loss"], 2 * x.sum())


def test_pick_takes_the_output_out_of_what_the_forward_returns():
    x = rng.standard_normal(3)
    result = trace(lambda p, c: [0, {"out": p["x"] ** 3}], {"x": x}, {}, pick=lambda r: r[1]["out"])
    assert np.allclose(result.vjp(np.ones(3))["x"], 3 * x**2)


def test_integer_primals_have_no_gradient_and_unused_primals_a_zero_one():
    result = trace(
        lambda p, c: p["E"][p["ids"]] * c["scale"],
        {"E": rng.standard_normal((3, 2)), "ids": np.array([0, 0]), "spare": np.ones(2)}, {"scale": 2.0},
    )  # fmt: skip
    grads = result.vjp(np.ones((2, 2)))
    assert grads["ids"] is None
    assert np.array_equal(grads["E"], [[4, 4], [0, 0], [0, 0]])
    assert np.array_equal(grads["spare"], [0, 0])
    assert result.notes == ("the output does not use 'spare'",)


def test_a_float32_forward_is_traced_at_float64_at_the_same_rounded_inputs():
    x = rng.standard_normal((4, 3)).astype(np.float32)
    W = rng.standard_normal((3, 2)).astype(np.float32)

    def forward(p, c):
        assert p["x"].dtype == np.float32
        out = np.zeros((4, 2), dtype=np.float32)
        out[:] = (p["x"] @ p["W"]).astype(np.float32)
        return (np.tanh(out) * np.float32(0.1) + np.finfo(out.dtype).eps).astype(np.float32)

    result = trace(forward, {"x": x, "W": W}, {}, expect=forward({"x": x, "W": W}, {}))
    wide = {"x": x.astype(float), "W": W.astype(float)}
    exact = np.tanh(wide["x"] @ wide["W"]) * np.float64(np.float32(0.1)) + np.finfo(np.float32).eps
    assert np.max(np.abs(result.out - exact)) < 1e-15
    want = wide["x"].T @ (np.float64(np.float32(0.1)) * (1 - np.tanh(wide["x"] @ wide["W"]) ** 2))
    assert np.max(np.abs(result.vjp(np.ones((4, 2)))["W"] - want)) < 1e-14


def test_a_down_cast_is_not_rounded_and_said():
    x = rng.standard_normal(3)
    forward = lambda p, c: (p["x"] ** 2).astype(np.float32)  # noqa: E731
    result = trace(forward, {"x": x}, {}, expect=forward({"x": x}, {}))
    assert np.array_equal(result.out, x**2)
    assert result.notes == ("astype(float32) of a float64 array was not rounded",)


def test_float_constants_are_buffers_and_their_methods_trace():
    X = rng.standard_normal((4, 3))

    def call(p, c):
        out = c["X"].copy()
        out[0] = p["W"][:, 0]
        return c["X"].dot(p["W"]) + c["labels"][0] * np.sum(out)

    constants = {"X": X, "labels": [X[:, :1]], "n": 3}
    W = rng.standard_normal((3, 2))
    result = trace(call, {"W": W}, constants, expect=call({"W": W}, constants))
    want = X.sum(axis=0)[:, None] * np.ones(2)
    want[:, 0] += 2 * X[:, 0].sum()
    assert np.allclose(result.vjp(np.ones((4, 2)))["W"], want)


def test_a_norm_at_zero_is_a_kink_and_its_gradient_unknown():
    result = trace(lambda p, c: np.linalg.norm(p["x"]), {"x": np.zeros(3)}, {})
    assert result.kinks == ("sqrt at 0: 1 entries",)
    assert np.isnan(result.vjp(np.array(1.0))["x"]).all()
