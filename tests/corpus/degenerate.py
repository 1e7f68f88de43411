"""Points that cannot show the bug: it must be found beside them, or the blind spot must be named."""

import numpy as np

from tests.corpus._items import twins

NEARBY = {"differs": "nearby"}


def _affine(bug):
    def forward(x, W, b):
        return x @ W + b, (x, W)

    def backward(g, cache):
        x, W = cache
        dW = x.T @ g
        return (
            g @ (W if bug == "transposed" else W.T),
            {"dw-transposed": dW.T, "dw-zero": 0 * dW}.get(bug, dW),
            g[0] if bug == "first" else g.mean(axis=0) if bug == "mean" else g.sum(axis=0),
        )

    return forward, backward


@twins("symmetric_W", why="a symmetric W", bugs={"transposed": ("W for W^T", ("transposed",))}, **NEARBY)
def symmetric_w(rng, bug):
    S = rng.standard_normal((3, 3))
    return _affine(bug), {"x": rng.standard_normal((4, 3)), "W": S + S.T, "b": rng.standard_normal(3)}


@twins("identity_W", why="W = I", bugs={"transposed": ("W for W^T", ("transposed",))}, **NEARBY)
def identity_w(rng, bug):
    return _affine(bug), {"x": rng.standard_normal((4, 3)), "W": np.eye(3), "b": np.zeros(3)}


@twins("zero_x", why="all inputs 0: dW is truly 0", bugs={"dw-zero": ("dW is always 0", ("zeroed-entries",))}, **NEARBY)
def zero_x(rng, bug):
    return _affine(bug), {"x": np.zeros((4, 3)), "W": rng.standard_normal((3, 2)), "b": np.zeros(2)}


@twins("zero_W", why="W = 0: dx is truly 0", bugs={"transposed": ("W for W^T", ("transposed",))}, **NEARBY)
def zero_w(rng, bug):
    return _affine(bug), {"x": rng.standard_normal((4, 3)), "W": np.zeros((3, 3)), "b": np.zeros(3)}


@twins(
    "everything_ones", why="all ones everywhere", bugs={"dw-transposed": ("dW transposed", ("transposed",))}, **NEARBY
)
def everything_ones(rng, bug):
    return _affine(bug), {"x": np.ones((4, 3)), "W": np.ones((3, 3)), "b": np.ones(3)}, {"upstream": np.ones((4, 3))}


@twins(
    "batch_of_one",
    why="one sample",
    says="batch|one sample|size 1|size-1|blind|B = 1",
    bugs={
        "mean": {
            "why": "db is a mean: the same for one sample; at least the blind spot is named",
            "expect": "fail|pass|inconclusive",
            "says": "batch|one sample|size 1|size-1|blind|B = 1|scale",
        },
        "transposed": {"why": "W for W^T", "causes": ("transposed",), "differs": "here"},
    },
    differs="reason: the same numbers for a batch of one",
)
def batch_of_one(rng, bug):
    return _affine(bug), {
        "x": rng.standard_normal((1, 3)),
        "W": rng.standard_normal((3, 3)),
        "b": rng.standard_normal(3),
    }


@twins(
    "batch_of_one_loss",
    why="one sample and a mean squared error over the batch",
    bugs={
        "sign": {"why": "the wrong sign", "causes": ("sign", "scale"), "differs": "here"},
        "no-mean": {
            "why": "1/B is missing: right for one sample; the blind spot is named",
            "expect": "fail|pass|inconclusive",
            "says": "batch|one sample|size 1|size-1|blind|B = 1",
        },
    },
    differs="reason: the same numbers for a batch of one",
)
def batch_of_one_loss(rng, bug):
    def forward(p, y):
        return np.sum((p - y) ** 2) / len(p), p - y

    def backward(g, d):
        return (-1 if bug == "sign" else 1) * g * 2 * d / (1 if bug == "no-mean" else len(d))

    return (forward, backward), {"p": rng.standard_normal((1, 3))}, {"constants": {"y": rng.standard_normal((1, 3))}}


@twins(
    "softmax_upstream_ones",
    why="an upstream of ones hides the softmax Jacobian: the gradient is 0",
    bugs={"zero": ("always 0", ("zeroed-entries", "detached"))},
    **NEARBY,
)
def softmax_upstream_ones(rng, bug):
    def forward(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        s = e / e.sum(axis=1, keepdims=True)
        return s, s

    def backward(g, s):
        return np.zeros_like(s) if bug else s * (g - (g * s).sum(axis=1, keepdims=True))

    return (forward, backward), {"z": rng.standard_normal((3, 4))}, {"upstream": np.ones((3, 4))}


@twins(
    "upstream_ones_ignored",
    why="an upstream of ones",
    bugs={"ignored": ("the upstream is ignored", ("upstream-ignored",))},
    **NEARBY,
)
def upstream_ones_ignored(rng, bug):
    def forward(x):
        return np.tanh(x), x

    def backward(g, x):
        return (1 if bug else g) * (1 - np.tanh(x) ** 2)

    return (forward, backward), {"x": rng.standard_normal((3, 4))}, {"upstream": np.ones((3, 4))}


@twins(
    "upstream_zeros",
    why="an upstream of zeros compares nothing",
    bugs={"sign": ("the wrong sign", ("sign", "scale"))},
    **NEARBY,
)
def upstream_zeros(rng, bug):
    def forward(x):
        return np.tanh(x), x

    def backward(g, x):
        return (-1 if bug else 1) * g * (1 - np.tanh(x) ** 2)

    return (forward, backward), {"x": rng.standard_normal((3, 4))}, {"upstream": np.zeros((3, 4))}


@twins(
    "tanh_at_zero",
    why="tanh at 0: slope 1 everywhere",
    bugs={"missing": ("the derivative is missing", ("missing-activation-derivative",))},
    **NEARBY,
)
def tanh_at_zero(rng, bug):
    def forward(x):
        return np.tanh(x), x

    def backward(g, x):
        return g if bug else g * (1 - np.tanh(x) ** 2)

    return (forward, backward), {"x": np.zeros((3, 4))}


@twins(
    "square_at_one",
    why="x^2 at 1: 2 x = 2",
    bugs={"constant": ("2 instead of 2 x", ("missing-term", "scale"))},
    **NEARBY,
)
def square_at_one(rng, bug):
    def forward(x):
        return x**2, x

    def backward(g, x):
        return 2 * g * (1 if bug else x)

    return (forward, backward), {"x": np.ones((3, 2))}


@twins(
    "all_equal_variance",
    why="all entries equal: the variance's gradient is 0",
    bugs={"zero": ("always 0", ("zeroed-entries", "detached"))},
    **NEARBY,
)
def all_equal_variance(rng, bug):
    def forward(x):
        return x.var(axis=0), x

    def backward(g, x):
        return np.zeros_like(x) if bug else g * 2 * (x - x.mean(axis=0)) / len(x)

    return (forward, backward), {"x": np.full((4, 3), 0.7)}


@twins(
    "gamma_one",
    why="batch norm with gamma = 1, beta = 0 as initialised",
    bugs={"gamma": ("gamma is missing in dx", ("missing-term",))},
    **NEARBY,
)
def gamma_one(rng, bug):
    def forward(x, gamma, beta):
        std = np.sqrt(x.var(axis=0) + 1e-5)
        xhat = (x - x.mean(axis=0)) / std
        return gamma * xhat + beta, (xhat, gamma, std)

    def backward(g, cache):
        xhat, gamma, std = cache
        d = g if bug else g * gamma
        dx = (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0)) / std
        return dx, (g * xhat).sum(axis=0), g.sum(axis=0)

    return (forward, backward), {"x": rng.standard_normal((5, 3)), "gamma": np.ones(3), "beta": np.zeros(3)}


@twins(
    "all_positive_relu",
    why="every entry positive: the mask is all ones",
    bugs={"mask": ("no mask", ("wrong-mask", "missing-activation-derivative"))},
    differs="reason: differs only where x < 0, a sign that the given point never shows",
)
def all_positive_relu(rng, bug):
    def forward(x, W):
        z = x @ W
        return np.maximum(z, 0), (x, W, z)

    def backward(g, cache):
        x, W, z = cache
        dz = g if bug else g * (z > 0)
        return dz @ W.T, x.T @ dz

    return (forward, backward), {"x": rng.uniform(0.1, 1, (4, 3)), "W": rng.uniform(-1, 1, (3, 2)) + 0.0}


@twins(
    "zero_initialised_net",
    why="all weights 0: nothing flows to the first layer",
    bugs={"sign": ("the wrong sign of dW1", ("sign", "scale"))},
    **NEARBY,
)
def zero_initialised(rng, bug):
    def forward(W1, W2, X):
        h = np.tanh(X @ W1)
        return h @ W2, (W2, X, h)

    def backward(g, cache):
        W2, X, h = cache
        return (-1 if bug else 1) * X.T @ ((g @ W2.T) * (1 - h**2)), h.T @ g

    primals = {"W1": np.zeros((3, 4)), "W2": np.zeros((4, 2))}
    return (forward, backward), primals, {"constants": {"X": rng.standard_normal((5, 3))}}


@twins(
    "repeated_rows",
    why="all samples equal",
    bugs={"first": ("the first sample counts for all", ("dropped-samples",))},
    **NEARBY,
)
def repeated_rows(rng, bug):
    def forward(x, w):
        return np.tanh(x @ w).sum(), (x, w)

    def backward(g, cache):
        x, w = cache
        d = g * (1 - np.tanh(x @ w) ** 2)
        dw = x[0] * d[0] * len(x) if bug else x.T @ d
        return np.outer(d, w), dw

    return (forward, backward), {"x": np.tile(rng.standard_normal(3), (4, 1)), "w": rng.standard_normal(3)}
