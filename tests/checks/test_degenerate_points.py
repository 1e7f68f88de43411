"""A point that hides a bug is not the last word: the right twin passes there, the wrong one fails all the same."""

import numpy as np
import pytest

import gradverify as gv

RNG = np.random.default_rng(17)
X, W, S = RNG.standard_normal((5, 4)), RNG.standard_normal((4, 3)), RNG.standard_normal((4, 4))


def palindromic_kernel(bug):
    def forward(x, w):
        return np.array([x[i : i + len(w)] @ w for i in range(len(x) - len(w) + 1)]), (x, w)

    def backward(u, cache):
        x, w = cache
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for i, g in enumerate(u):
            dx[i : i + len(w)] += g * (w[::-1] if bug else w)
            dw += g * x[i : i + len(w)]
        return dx, dw

    return (forward, backward), {"x": X.ravel()[:7], "w": np.array([1.0, 2.0, 1.0])}, {}


def mean_over_a_square(bug):
    def forward(x, W):
        return np.tanh(x @ W).mean(axis=0), (x, W)

    def backward(u, cache):
        x, W = cache
        d = u / (len(W) if bug else len(x)) * (1 - np.tanh(x @ W) ** 2)
        return d @ W.T, x.T @ d

    return (forward, backward), {"x": X[:4], "W": S}, {}


def temperature_one(bug):
    def forward(x, T):
        return np.tanh(x / T), (x, T)

    def backward(u, cache):
        x, T = cache
        return u * (1 - np.tanh(x / T) ** 2) / (1 if bug else T)

    return (forward, backward), {"x": X}, {"T": 1.0}


def slope_one_by_default(bug):
    def forward(x, alpha=1.0):
        return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))), (x, alpha)

    def backward(u, cache):
        x, alpha = cache
        return u * np.where(x > 0, 1, (1 if bug else alpha) * np.exp(np.minimum(x, 0)))

    return (forward, backward), {"x": X}, {}


def nothing_padded(bug):
    def forward(x, w, conv_param):
        p = conv_param["pad"]
        wide = np.pad(x, p)
        return np.convolve(wide, w[::-1], "valid"), (wide, w, p, len(x))

    def backward(u, cache):
        wide, w, p, n = cache
        d = np.convolve(u, w)
        return (d[:n] if bug else d[p : p + n]), np.convolve(wide, u[::-1], "valid")

    return (forward, backward), {"x": X.ravel()[:7], "w": W[:, 0]}, {"conv_param": {"pad": 0, "stride": 1}}


def nothing_masked(bug):
    def forward(x, mask):
        return np.sin(x) * mask, (x, mask)

    def backward(u, cache):
        x, mask = cache
        return u * np.cos(x) * (1 if bug else mask)

    return (forward, backward), {"x": X}, {"mask": np.ones(X.shape)}


def weights_of_one(bug):
    def loss(w, x, y, weight):
        r = x @ w - y
        return 0.5 * np.sum(weight * r**2), {"w": x.T @ (r if bug else weight * r)}

    return loss, {"w": W[:, 0]}, {"x": X, "y": X[:, 1], "weight": np.ones(5)}


def state_of_zeros(bug):
    def forward(x, W, U, h0):
        return np.tanh(x @ W + h0 @ U), (x, W, U, h0)

    def backward(u, cache):
        x, W, U, h0 = cache
        d = u * (1 - np.tanh(x @ W + h0 @ U) ** 2)
        return d @ W.T, x.T @ d, 0 * U if bug else h0.T @ d

    return (forward, backward), {"x": X, "W": W, "U": S[:3, :3]}, {"h0": np.zeros((5, 3))}


def identity_as_an_index(bug):
    def backward(u, order):
        if bug:
            return u[order]
        dx = np.empty_like(u)
        dx[order] = u
        return dx

    return (lambda x, order: (x[order], order), backward), {"x": X}, {"order": np.arange(5)}


def words_that_do_not_repeat(bug):
    def backward(u, cache):
        shape, ids = cache
        d = np.zeros(shape)
        if bug:
            d[ids] = u
        else:
            np.add.at(d, ids, u)
        return d

    return (lambda table, ids: (table[ids], (table.shape, ids)), backward), {"table": X}, {"ids": np.array([0, 3, 2])}


def nothing_left_over(bug):
    def forward(x, size=2):
        n = len(x) // size
        return x[: n * size].reshape(n, size).sum(axis=1) ** 2, (x, size)

    def backward(u, cache):
        x, size = cache
        n = len(x) // size
        d = np.repeat(2 * u * x[: n * size].reshape(n, size).sum(axis=1), size)
        return np.resize(d, x.shape) if bug else np.concatenate([d, np.zeros(len(x) - n * size)])

    return (forward, backward), {"x": X.ravel()[:8]}, {}


def no_penalty_by_default(bug):
    def loss(W, x, y, weight_decay=0.0):
        r = x @ W - y
        return 0.5 * np.sum(r**2) + weight_decay * np.sum(W**2), {"W": x.T @ r + (1 if bug else 2) * weight_decay * W}

    return loss, {"W": W}, {"x": X, "y": X[:, :3]}


def one_head(bug):
    def forward(x, heads):
        h = x.reshape(len(x), heads, -1)
        e = np.exp(h - h.max(axis=2, keepdims=True))
        p = e / e.sum(axis=2, keepdims=True)
        return p.reshape(x.shape), p

    def backward(u, p):
        g = u.reshape(p.shape)
        return (p * (g - (g * p).sum(axis=(1, 2) if bug else 2, keepdims=True))).reshape(u.shape)

    return (forward, backward), {"x": X}, {"heads": 1}


PAIRS = [
    palindromic_kernel, mean_over_a_square, temperature_one, slope_one_by_default, nothing_padded, nothing_masked,
    weights_of_one, state_of_zeros, identity_as_an_index, words_that_do_not_repeat, nothing_left_over,
    no_penalty_by_default, one_head,
]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("bug", [False, True], ids=["right", "wrong"])
def test_a_point_that_hides_a_bug_is_not_the_last_word(pair, bug):
    subject, primals, constants = pair(bug)
    report = gv.verify(subject, primals, constants=constants)
    assert report.verdict == ("fail" if bug else "pass"), str(report)


def test_one_hot_targets_are_not_judged_with_a_class_cut_off():
    def loss(W, x, y):
        z = x @ W
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return -np.sum(y * np.log(p)), {"W": x.T @ (p - y)}  # right where rows of y sum to one

    assert gv.verify(loss, {"W": W}, constants={"x": X, "y": np.eye(3)[[0, 1, 0, 1, 1]]}).verdict == "pass"


def test_indices_of_data_may_be_relied_on_to_be_different():
    def backward(u, cache):
        shape, chosen = cache
        d = np.zeros(shape)
        d[chosen] = u
        return d

    forward = lambda x, chosen: (x[chosen], (x.shape, chosen))  # noqa: E731
    assert gv.verify((forward, backward), {"x": X}, constants={"chosen": np.array([0, 3, 2])}).verdict == "pass"


def test_a_trace_that_takes_any_matrix_has_no_samples():
    forward = lambda A, B: (np.trace(A @ B), (A, B))  # noqa: E731
    backward = lambda u, cache: (u * cache[1].T, u * cache[0].T)  # noqa: E731
    assert gv.verify((forward, backward), {"A": S[:3, :3], "B": S[1:, 1:]}).verdict == "pass"
