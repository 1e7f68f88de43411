"""Right implementations that a careless checker calls wrong: views, Fortran caches, kinks, poles, float32, dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.bench import NumpyBench, bench

RNG = np.random.default_rng(20)
X, W, B = RNG.standard_normal((5, 4)), RNG.standard_normal((3, 4)), RNG.standard_normal(3)
Y = np.array([0, 2, 1, 2, 0])


def affine(x, W, b):
    return x @ W.T + b, (x, W)


def affine_back(u, cache):
    x, W = cache
    return {"x": u @ W, "W": u.T @ x, "b": u.sum(axis=0)}


def relu(x):
    return np.maximum(x, 0), x > 0


def relu_back(u, mask):
    return {"x": u * mask}


def softmax_rows(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def network(W1, b1, W2, b2, x, y):
    h = np.tanh(x @ W1.T + b1)
    p = softmax_rows(h @ W2.T + b2)
    n = np.arange(len(y))
    return -np.mean(np.log(p[n, y])), (W2, x, h, p, y)


def network_back(u, cache):
    W2, x, h, p, y = cache
    delta = p.copy()
    delta[np.arange(len(y)), y] -= 1
    delta *= u / len(y)
    back = delta @ W2 * (1 - h**2)
    return {"W1": back.T @ x, "b1": back.sum(axis=0), "W2": delta.T @ h, "b2": delta.sum(axis=0)}


def embed(table, index):
    return table[index], (table.shape, index)


def embed_back(u, cache):
    shape, index = cache
    grad = np.zeros(shape, dtype=u.dtype)
    np.add.at(grad, index, u)
    return {"table": grad, "index": None}


def layer_norm(x, gamma, beta):
    centred = x - x.mean(axis=-1, keepdims=True)
    std = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
    hat = centred / std
    return gamma * hat + beta, (hat, std, gamma)


def layer_norm_back(u, cache):
    hat, std, gamma = cache
    d = u * gamma
    dx = (d - d.mean(axis=-1, keepdims=True) - hat * np.mean(d * hat, axis=-1, keepdims=True)) / std
    return {"x": dx, "gamma": (u * hat).sum(axis=0), "beta": u.sum(axis=0)}


def batch_norm(x, gamma, beta, mean, var, training):
    """Statistics of the batch in train mode, given ones in eval mode."""
    if training:
        mean, var = x.mean(axis=0), x.var(axis=0)
    hat = (x - mean) / np.sqrt(var + 1e-5)
    return gamma * hat + beta, (hat, np.sqrt(var + 1e-5), gamma, training)


def batch_norm_back(u, cache):
    hat, std, gamma, training = cache
    d = u * gamma
    if training:
        d = d - d.mean(axis=0) - hat * np.mean(d * hat, axis=0)
    return {"x": d / std, "gamma": (u * hat).sum(axis=0), "beta": u.sum(axis=0)}


def ridge(w, x, y, reg):
    r = x @ w - y
    return 0.5 * np.sum(r**2) + 0.5 * reg * np.sum(w**2), (w, x, r, reg)


def ridge_back(u, cache):
    w, x, r, reg = cache
    return {"w": u * (x.T @ r + reg * w)}


def flatten(x):
    return x.reshape(len(x), -1), x.shape


def flatten_back(u, shape):
    return {"x": u.reshape(shape)}


def add(a, b):
    return a + b, None


def add_back(u, cache):
    return {"a": u, "b": u}


def scaled(a, b):
    """b of shape (1, 4) is broadcast over the rows of a."""
    return a * b, (a, b)


def scaled_back(u, cache):
    a, b = cache
    return {"a": u * b, "b": (u * a).sum(axis=0, keepdims=True)}


def root(x):
    return np.sqrt(x), x


def root_back(u, x):
    with np.errstate(divide="ignore"):
        return {"x": u * 0.5 / np.sqrt(x)}


def stats(x):
    return {"mean": x.mean(axis=0), "square": x**2}, x


def stats_back(u, x):
    return {"x": np.broadcast_to(u["mean"], x.shape) / len(x) + 2 * x * u["square"]}


def sigmoid(x):
    s = np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))
    return s, s


def sigmoid_back(u, s):
    return {"x": u * s * (1 - s)}


def transposed(x):
    return np.asfortranarray(x.T), None


def transposed_back(u, cache):
    return {"x": u.T}


def matmul_loss(a, w):
    r = a @ w
    return np.float64(0.5 * r @ r), (a, w, r)


def matmul_loss_back(u, cache):
    a, w, r = cache
    return {"a": np.outer(r, w), "w": r @ a}


def pooled(x):
    """Overlapping windows of three: contributions are added."""
    index = np.arange(x.shape[1] - 2)[:, None] + np.arange(3)
    return x[:, index].mean(axis=2), (x.shape, index)


def pooled_back(u, cache):
    shape, index = cache
    grad = np.zeros(shape, dtype=u.dtype)
    np.add.at(grad, (slice(None), index), u[:, :, None] / 3)
    return {"x": grad}


BATCH = {"batch_axis": {"x": 0}}
ROWS = {"batch_axis": {"x": 0, "y": 0}}
NETWORK = {
    "W1": RNG.standard_normal((3, 4)),
    "b1": RNG.standard_normal(3),
    "W2": RNG.standard_normal((6, 3)),
    "b2": RNG.standard_normal(6),
}
AXES = {"batch": {"x": 0}, "inputs": {"x": 1, "W": 1}, "outputs": {"W": 0, "b": 0}}


def single(arrays):
    return {k: v.astype(np.float32) for k, v in arrays.items()}


RIGHT: dict[str, Callable[[], NumpyBench]] = {
    "affine": lambda: bench(affine, affine_back, {"x": X, "W": W, "b": B}, attrs={**BATCH, "axes": AXES}),
    "affine, one sample": lambda: bench(affine, affine_back, {"x": X[:1], "W": W, "b": B}),
    "affine in float32": lambda: bench(
        affine, affine_back, {k: v.astype("f4") for k, v in {"x": X, "W": W, "b": B}.items()}
    ),
    "affine, square": lambda: bench(affine, affine_back, {"x": X[:4], "W": X[:4], "b": X[0]}),
    "relu at zero": lambda: bench(relu, relu_back, {"x": np.where(np.abs(X) < 0.5, 0.0, X)}, attrs=BATCH),
    "network": lambda: bench(
        network, network_back, NETWORK, constants={"x": X, "y": Y}, attrs={"batch_axis": {"x": 0, "y": 0}}
    ),
    "embedding": lambda: bench(embed, embed_back, {"table": X, "index": np.array([[0, 2], [2, 2], [4, 0]])}),
    "layer norm": lambda: bench(layer_norm, layer_norm_back, {"x": X, "gamma": W[1], "beta": W[0]}, attrs=BATCH),
    "layer norm, offset 1e4": lambda: bench(layer_norm, layer_norm_back, {"x": X + 1e4, "gamma": W[1], "beta": W[0]}),
    "batch norm in train mode": lambda: batch_norm_bench(training=True),
    "batch norm in eval mode": lambda: batch_norm_bench(training=False),
    "ridge without a penalty": lambda: bench(
        ridge, ridge_back, {"w": W[0]}, constants={"x": X, "y": X[:, 0], "reg": 0.0}
    ),
    "flatten returns a view": lambda: bench(flatten, flatten_back, {"x": RNG.standard_normal((3, 2, 2))}, attrs=BATCH),
    "add returns the upstream twice": lambda: bench(add, add_back, {"a": X, "b": X + 1}),
    "broadcast product": lambda: bench(scaled, scaled_back, {"a": X, "b": W[:1]}),
    "square root at its pole": lambda: bench(root, root_back, {"x": np.array([0.0, 1.0, 4.0])}),
    "two outputs": lambda: bench(stats, stats_back, {"x": X}),
    "sigmoid at +-800": lambda: bench(sigmoid, sigmoid_back, {"x": np.array([-800.0, -1.0, 0.0, 2.0, 800.0])}),
    "transpose in Fortran order": lambda: bench(transposed, transposed_back, {"x": X}),
    "loss without upstream": lambda: bench(
        matmul_loss,
        matmul_loss_back,
        {"a": X, "w": W[0]},
        upstream=np.ones(()),
        traits=("no-upstream",),
    ),
    "loss that may ignore its upstream": lambda: bench(
        matmul_loss, matmul_loss_back, {"a": X, "w": W[0]}, upstream=np.ones(()), traits=("upstream-optional",)
    ),
    "overlapping windows": lambda: bench(pooled, pooled_back, {"x": RNG.standard_normal((3, 7))}, attrs=BATCH),
    "tiny gradients": lambda: bench(affine, affine_back, {"x": X * 1e-9, "W": W * 1e-12, "b": B}),
    "one number": lambda: bench(relu, relu_back, {"x": np.array(0.7)}),
}


def batch_norm_bench(*, training: bool) -> NumpyBench:
    statistics = {"mean": W[2], "var": np.abs(W[0]) + 0.5}
    return bench(
        batch_norm,
        batch_norm_back,
        {"x": X, "gamma": W[1], "beta": W[0]},
        constants={**statistics, "training": training},
    )


def affine_bench(backward: Any = affine_back, forward: Any = affine, **case: Any) -> NumpyBench:
    """The affine layer with one half replaced: where the wrong ones of the tests start from."""
    return bench(forward, backward, {"x": X, "W": W, "b": B}, **case)
