"""Kinks and ties: at the kink, 1e-9 from it, 1e-6 from it, and ordinary points of functions that have them."""

import numpy as np

from tests.corpus._items import item, twins
from tests.corpus.elementwise import _pair, _signs

AT = np.array([0.0, 1.2, -0.7, 0.0])
NEAR_9 = np.array([1e-9, -1e-9, 0.8, -1.3])
NEAR_6 = np.array([1e-6, -1e-6, 0.8, -1.3])


@twins("relu", why="away from 0", bugs={"upstream-mask": ("the mask is taken from dout, not from x", ("wrong-mask",))})
def relu(rng, bug):
    def forward(x):
        return np.maximum(0, x), x

    def backward(dout, x):
        return dout * (dout > 0) if bug else dout * (x > 0)

    return (forward, backward), {"x": _signs(rng, 4, 5)}


@item("relu_at_zero_0", why="relu'(0) = 0 is inside [0, 1]", truth="kink")
def relu_at_zero_0(rng):
    return _pair(lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0), {"x": AT}


@item("relu_at_zero_1", why="relu'(0) = 1 is inside [0, 1]", truth="kink")
def relu_at_zero_1(rng):
    return _pair(lambda x: np.maximum(x, 0), lambda x: (x >= 0) * 1.0), {"x": AT}


@item("relu_at_zero_half", why="relu'(0) = 1/2 is inside [0, 1]", truth="kink")
def relu_at_zero_half(rng):
    return _pair(lambda x: np.maximum(x, 0), lambda x: np.heaviside(x, 0.5)), {"x": AT}


@item("relu_at_zero_2", expect="fail", why="relu'(0) = 2 is outside [0, 1]", twin="kinks.relu_at_zero_0", truth="kink")
def relu_at_zero_2(rng):
    return _pair(lambda x: np.maximum(x, 0), lambda x: np.heaviside(x, 2.0)), {"x": AT}


@item(
    "relu_at_zero_minus",
    expect="fail",
    why="relu'(0) = -0.1 is outside [0, 1]",
    twin="kinks.relu_at_zero_0",
    truth="kink",
)
def relu_at_zero_minus(rng):
    return _pair(lambda x: np.maximum(x, 0), lambda x: np.heaviside(x, -0.1)), {"x": AT}


@twins(
    "relu_1e-9",
    why="1e-9 from the kink the derivative is 0 or 1 and nothing else",
    bugs={"threshold": "the mask is x > 1e-7", "all": "the mask is x >= -1e-7"},
    truth=lambda p, u: {"x": u * (p["x"] > 0)},
)
def relu_1e9(rng, bug):
    t = {"": 0.0, "threshold": 1e-7, "all": -1e-7}[bug]
    return _pair(lambda x: np.maximum(x, 0), lambda x: (x > t) * 1.0), {"x": NEAR_9}


@twins(
    "relu_1e-6",
    why="1e-6 from the kink the derivative is 0 or 1 and nothing else",
    bugs={"threshold": "the mask is x > 1e-4", "half": "1/2 everywhere within 1e-4 of the kink"},
    truth=lambda p, u: {"x": u * (p["x"] > 0)},
)
def relu_1e6(rng, bug):
    df = {
        "": lambda x: (x > 0) * 1.0,
        "threshold": lambda x: (x > 1e-4) * 1.0,
        "half": lambda x: np.where(np.abs(x) < 1e-4, 0.5, x > 0),
    }[bug]
    return _pair(lambda x: np.maximum(x, 0), df), {"x": NEAR_6}


@twins(
    "leaky_relu_1e-6",
    why="slopes 0.01 and 1, 1e-6 from the kink",
    bugs={"relu": "slope 0 on the left: the derivative of relu", "squared": "slope 0.01^2: applied twice"},
    truth=lambda p, u: {"x": u * np.where(p["x"] > 0, 1, 0.01)},
)
def leaky_relu_1e6(rng, bug):
    a = {"": 0.01, "relu": 0.0, "squared": 1e-4}[bug]
    return _pair(lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1.0, a)), {"x": NEAR_6}


@twins(
    "abs_at_zero",
    why="sign(0) = 0 is inside [-1, 1]",
    bugs={"ratio": ("x / |x| is 0 / 0 at 0", ("nan-at-edge",)), "outside": "1.5 at 0 is outside"},
    truth="kink",
)
def abs_at_zero(rng, bug):
    def ratio(x):
        with np.errstate(invalid="ignore"):
            return x / np.abs(x)

    df = {"": np.sign, "ratio": ratio, "outside": lambda x: np.where(x == 0, 1.5, np.sign(x))}[bug]
    return _pair(np.abs, df), {"x": AT}


@twins(
    "abs_1e-9",
    why="1e-9 from the kink",
    bugs={"smoothed": "x / (|x| + 1e-8): a tenth of the slope at 1e-9"},
    truth=lambda p, u: {"x": u * np.sign(p["x"])},
)
def abs_1e9(rng, bug):
    eps = 1e-8 if bug else 0.0
    return _pair(np.abs, lambda x: x / (np.abs(x) + eps)), {"x": NEAR_9}


@twins("hinge", why="max(0, 1 - y s), no sample on the margin", bugs={"sign": ("+y", ("sign", "scale"))})
def hinge(rng, bug):
    sign = 1.0 if bug else -1.0

    def forward(s, y):
        margin = 1 - y * s
        return np.mean(np.maximum(0, margin)), (margin, y)

    def backward(dout, cache):
        margin, y = cache
        return dout * sign * y * (margin > 0) / len(y)

    y = np.array([1.0, -1, 1, 1, -1])
    return (forward, backward), {"s": np.array([0.3, 0.8, 2.5, -1.0, -1.7])}, {"constants": {"y": y}}


@twins(
    "hinge_on_margin",
    why="two samples exactly on the margin",
    bugs={"outside": "twice the slope on the margin"},
    truth="kink",
)
def hinge_on_margin(rng, bug):
    def forward(s, y):
        margin = 1 - y * s
        return np.sum(np.maximum(0, margin)), (margin, y)

    def backward(dout, cache):
        margin, y = cache
        at = np.where(margin == 0, 2.0 if bug else 0.0, margin > 0)
        return -dout * y * at

    y = np.array([1.0, -1, 1, 1, -1])
    return (forward, backward), {"s": np.array([1.0, -1.0, 2.5, -1.0, 0.2])}, {"constants": {"y": y}}


@twins(
    "hard_tanh_at_edges",
    why="clip(x, -1, 1) exactly at both edges",
    bugs={"through": "the gradient passes everywhere"},
    truth="kink",
)
def hard_tanh_at_edges(rng, bug):
    df = np.ones_like if bug else (lambda x: (np.abs(x) <= 1) * 1.0)
    return _pair(lambda x: np.clip(x, -1, 1), df), {"x": np.array([-1.0, 1.0, 0.3, 2.0, -3.0])}


@twins(
    "clip_1e-6",
    why="1e-6 inside and outside of the bounds",
    bugs={"bound": "the upper bound is 1.001 in backward"},
    truth=lambda p, u: {"x": u * (np.abs(p["x"]) < 1)},
)
def clip_1e6(rng, bug):
    hi = 1.001 if bug else 1.0
    return _pair(lambda x: np.clip(x, -1, 1), lambda x: ((x > -1) & (x < hi)) * 1.0), {
        "x": np.array([1 + 1e-6, 1 - 1e-6, -1 - 1e-6, -1 + 1e-6, 0.5])
    }


def _max_axis(rule):
    def forward(x):
        return x.max(axis=1), x

    def backward(dout, x):
        return dout[:, None] * rule(x)

    return forward, backward


def _first(x):
    out = np.zeros_like(x)
    out[np.arange(len(x)), x.argmax(axis=1)] = 1
    return out


def _all(x):
    return (x == x.max(axis=1, keepdims=True)) * 1.0


def _split(x):
    m = _all(x)
    return m / m.sum(axis=1, keepdims=True)


TIED = np.array([[1.0, 3.0, 3.0, -2.0], [0.5, 0.1, 0.2, 0.3], [2.0, 2.0, 2.0, 2.0]])


@item("max_ties_first", why="the first of the tied takes all: each entry in [0, 1]", truth="kink")
def max_ties_first(rng):
    return _max_axis(_first), {"x": TIED}


@item("max_ties_all", why="1 for each of the tied: each entry in [0, 1]", truth="kink")
def max_ties_all(rng):
    return _max_axis(_all), {"x": TIED}


@item("max_ties_split", why="1 / n for each of the tied: each entry in [0, 1]", truth="kink")
def max_ties_split(rng):
    return _max_axis(_split), {"x": TIED}


@item(
    "max_ties_row_sum",
    expect="fail",
    why="the number of ties is left in: 2 for each of two tied",
    twin="kinks.max_ties_all",
    truth="kink",
)
def max_ties_count(rng):
    return _max_axis(lambda x: _all(x) * _all(x).sum(axis=1, keepdims=True)), {"x": TIED}


@twins(
    "max_near_tie",
    why="two entries 1e-9 apart: the larger one takes all",
    bugs={"isclose": "np.isclose calls them tied and splits"},
    truth=lambda p, u: {"x": u[:, None] * _first(p["x"])},
)
def max_near_tie(rng, bug):
    def isclose(x):
        m = np.isclose(x, x.max(axis=1, keepdims=True)) * 1.0
        return m / m.sum(axis=1, keepdims=True)

    x = np.array([[1.0, 3.0, 3.0 + 1e-9, -2.0], [0.5, 0.1, 0.2, 0.3]])
    return _max_axis(isclose if bug else _first), {"x": x}


@twins(
    "max_plus_identity",
    why="max(x) + x, the row of neon#170",
    bugs={"broadcast": "the max gradient goes to every entry: 3 instead of 2"},
)
def max_plus_identity(rng, bug):
    def forward(x):
        return x.max() + x, x

    def backward(dout, x):
        return dout + dout.sum() * (np.ones_like(x) if bug else x == x.max())

    return (forward, backward), {"x": rng.standard_normal((2, 3))}


def _pool(rule, size=2, stride=2):
    def forward(x):
        n, h, w = x.shape
        oh, ow = (h - size) // stride + 1, (w - size) // stride + 1
        out = np.zeros((n, oh, ow))
        for i in range(oh):
            for j in range(ow):
                window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
                out[:, i, j] = window.max(axis=(1, 2))
        return out, x

    def backward(dout, x):
        dx = np.zeros_like(x)
        for b in range(x.shape[0]):
            for i in range(dout.shape[1]):
                for j in range(dout.shape[2]):
                    rows, cols = slice(i * stride, i * stride + size), slice(j * stride, j * stride + size)
                    flat = x[b, rows, cols].reshape(1, -1)
                    dx[b, rows, cols] += dout[b, i, j] * rule(flat).reshape(size, size)
        return dx

    return forward, backward


def _relu_image(rng):
    return np.maximum(rng.standard_normal((2, 4, 6)), 0)  # whole windows of zeros, as after a relu


@item("pool_ties_first", why="windows of zeros after a relu, the first takes all", truth="kink")
def pool_ties_first(rng):
    return _pool(_first), {"x": _relu_image(rng)}


@item("pool_ties_all", why="windows of zeros after a relu, each takes all", truth="kink")
def pool_ties_all(rng):
    return _pool(_all), {"x": _relu_image(rng)}


@item("pool_ties_split", why="windows of zeros after a relu, shared", truth="kink")
def pool_ties_split(rng):
    return _pool(_split), {"x": _relu_image(rng)}


@item(
    "pool_ties_last_and_first",
    expect="fail",
    why="the minimum of the window takes the gradient",
    twin="kinks.pool_ties_first",
)
def pool_ties_min(rng):
    return _pool(lambda x: _first(-x)), {"x": _relu_image(rng)}


@twins(
    "sort",
    why="the gradient goes back through the inverse permutation",
    bugs={"permutation": ("the permutation itself instead of its inverse", ("permuted",))},
)
def sort(rng, bug):
    def forward(x):
        order = np.argsort(x)
        return x[order], order

    def backward(dout, order):
        return dout[order] if bug else dout[np.argsort(order)]

    return (forward, backward), {"x": np.array([2.0, -1.0, 0.3, -0.2, 1.1])}


@item("sort_tied", why="two equal entries: either order is right", truth="kink")
def sort_tied(rng):
    def forward(x):
        order = np.argsort(x, kind="stable")
        return x[order], order

    def backward(dout, order):
        dx = np.empty_like(dout)
        dx[order] = dout
        return dx

    return (forward, backward), {"x": np.array([0.3, 2.0, 0.3, 1.1, -0.2])}


@twins("median", why="even count: the two middle ones share", bugs={"one": "the upper middle one takes all"})
def median(rng, bug):
    def forward(x):
        return np.median(x), x

    def backward(dout, x):
        dx, order = np.zeros_like(x), np.argsort(x)
        if bug:
            dx[order[3]] = dout
        else:
            dx[order[2:4]] = dout / 2
        return dx

    return (forward, backward), {"x": np.array([0.3, 2.0, -1.0, 1.1, -0.2, 5.0])}


@item("median_odd_tied", why="the middle value occurs twice: 0, 1/2 and 1 are all inside", truth="kink")
def median_odd_tied(rng):
    def forward(x):
        return np.median(x), x

    def backward(dout, x):
        mask = x == np.median(x)
        return dout * mask / mask.sum()

    return (forward, backward), {"x": np.array([0.3, 2.0, 0.3, 1.1, -0.2])}


@twins(
    "quantile_loss",
    why="pinball loss with tau = 0.9, one residual exactly 0",
    bugs={"swapped": "tau and 1 - tau exchanged"},
    truth="kink",
)
def quantile_loss(rng, bug):
    tau = 0.9

    def forward(q, y):
        r = y - q
        return np.mean(np.maximum(tau * r, (tau - 1) * r)), r

    def backward(dout, r):
        lo, hi = (1 - tau, -tau) if not bug else (tau, tau - 1)
        return dout * np.where(r > 0, hi, lo) / r.size

    y = np.array([0.5, -1.0, 2.0, 0.1])
    return (forward, backward), {"q": np.array([0.5, -1.4, 2.9, -0.3])}, {"constants": {"y": y}}


@twins(
    "huber_at_delta",
    why="|r| exactly delta: the slope is continuous there",
    bugs={"clip": "clipped at 1 where delta is 1.5"},
    truth=lambda p, u: {"r": u * np.clip(p["r"], -1.5, 1.5)},
)
def huber_at_delta(rng, bug):
    def forward(r):
        a = np.abs(r)
        return np.sum(np.where(a <= 1.5, 0.5 * r**2, 1.5 * (a - 0.75))), r

    def backward(dout, r):
        c = 1.0 if bug else 1.5
        return dout * np.clip(r, -c, c)

    return (forward, backward), {"r": np.array([1.5, -1.5, 0.4, 3.0])}


@twins(
    "fractional_part",
    why="x - floor(x) has slope 1 between the jumps",
    bugs={"zero": ("floor's derivative was taken as 1", ("zeroed-entries",))},
)
def fractional_part(rng, bug):
    df = np.zeros_like if bug else np.ones_like
    return _pair(lambda x: x - np.floor(x), df), {"x": np.array([0.3, 2.7, -1.4, 10.5])}


@twins(
    "step",
    why="a step function: the gradient is truly zero",
    bugs={"through": "straight-through without saying so"},
)
def step(rng, bug):
    return _pair(lambda x: np.where(x > 0, 1.0, 0.0), np.ones_like if bug else np.zeros_like), {"x": _signs(rng, 3, 2)}


@twins(
    "minimum_tied",
    why="np.minimum of two arrays, one pair equal, halves",
    bugs={"both": "2 for each of the tied"},
    truth="kink",
)
def minimum_tied(rng, bug):
    def forward(a, b):
        return np.minimum(a, b), (a, b)

    def backward(dout, cache):
        a, b = cache
        tie = 2.0 if bug else 0.5
        return dout * np.where(a == b, tie, a < b), dout * np.where(a == b, tie, b < a)

    return (forward, backward), {"a": np.array([1.0, 2.0, 0.4]), "b": np.array([1.0, -1.0, 3.0])}


@twins(
    "l1_at_zero",
    why="sparse weights: sum |w| with exact zeros",
    bugs={"lambda": ("lambda is missing", ("scale",))},
    truth="kink",
)
def l1_at_zero(rng, bug):
    lam = 1.0 if bug else 0.1

    def forward(w):
        return 0.1 * np.sum(np.abs(w)), w

    def backward(dout, w):
        return dout * lam * np.sign(w)

    return (forward, backward), {"w": np.array([[0.0, 1.0, -2.0], [0.0, 0.0, 0.5]])}


@item("norm_at_zero", why="0 for the 2-norm at the origin is inside [-1, 1]", truth="kink")
def norm_at_zero(rng):
    def forward(x):
        return np.sqrt(np.sum(x**2)), x

    def backward(dout, x):
        n = np.sqrt(np.sum(x**2))
        return dout * x / n if n > 0 else np.zeros_like(x)

    return (forward, backward), {"x": np.zeros(4)}


@twins(
    "multiclass_svm",
    why="CS231n's svm loss: the right class collects the counts",
    bugs={
        "count": ("the right class gets -1 instead of minus the count", ()),
        "batch": ("1/N is missing", ("missing-batch-mean", "scale")),
    },
)
def multiclass_svm(rng, bug):
    def forward(s, y):
        n = len(y)
        margins = np.maximum(0, s - s[np.arange(n), y][:, None] + 1)
        margins[np.arange(n), y] = 0
        return margins.sum() / n, (margins, y)

    def backward(dout, cache):
        margins, y = cache
        n = len(y)
        ds = (margins > 0).astype(float)
        ds[np.arange(n), y] = -1.0 if bug == "count" else -ds.sum(axis=1)
        return dout * ds / (1 if bug == "batch" else n)

    return (forward, backward), {"s": rng.standard_normal((5, 4)) * 2}, {"constants": {"y": np.array([0, 3, 1, 3, 2])}}


@twins("top_k_sum", why="the mean of the two largest per row", bugs={"scale": ("/ k is missing", ("scale",))})
def top_k_sum(rng, bug):
    k = 2

    def forward(x):
        top = np.argpartition(-x, k, axis=1)[:, :k]
        return np.take_along_axis(x, top, axis=1).mean(axis=1), (top, x.shape)

    def backward(dout, cache):
        top, shape = cache
        dx = np.zeros(shape)
        np.put_along_axis(dx, top, np.repeat(dout[:, None], k, axis=1) / (1 if bug else k), axis=1)
        return dx

    return (forward, backward), {"x": rng.standard_normal((3, 5))}


@twins(
    "relu_of_cancelling_sum",
    why="relu of a sum that is exactly 0: the kink is inside, not at an input",
    bugs={"outside": "slope 3 at the kink"},
    truth="kink",
)
def relu_of_cancelling_sum(rng, bug):
    def forward(x):
        z = x.sum(axis=1)
        return np.maximum(z, 0), (x, z)

    def backward(dout, cache):
        x, z = cache
        slope = np.where(z == 0, 3.0 if bug else 0.0, z > 0)
        return (dout * slope)[:, None] * np.ones_like(x)

    return (forward, backward), {"x": np.array([[1.0, -1.0, 0.0], [0.5, 0.25, 1.0]])}


@twins(
    "relu_net_many_units_near_zero",
    why="200 hidden units, some within 1e-6 of their kink along any direction",
    bugs={"one": ("one unit's mask is stuck on", ())},
    truth=lambda p, u: {
        "x": u * (p["W"] * (p["W"] @ p["x"] > 0)[:, None]).sum(axis=0) / 200,
        "W": u * np.outer(p["W"] @ p["x"] > 0, p["x"]) / 200,
    },
)
def relu_net_many(rng, bug):
    def forward(x, W):
        z = W @ x
        return np.maximum(z, 0).mean(), (x, W, z)

    def backward(dout, cache):
        x, W, z = cache
        dz = (z > 0) * dout / z.size
        if bug:
            dz[np.argmin(z)] = dout / z.size
        return W.T @ dz, np.outer(dz, x)

    x = rng.standard_normal(3)
    W = rng.standard_normal((200, 3))
    z = W @ x
    W[:20] -= np.outer(z[:20] - 1e-6 * rng.choice([-1, 1], 20), x) / (x @ x)
    return (forward, backward), {"x": x, "W": W}


def _pooled(of, k=3, stride=2):
    """Overlapping windows; the gradient goes to the first, the last, all or a share of each of the largest."""

    def windows(x):
        n, m = ((s - k) // stride + 1 for s in x.shape)
        return [
            (i, j, np.s_[i * stride : i * stride + k, j * stride : j * stride + k]) for i in range(n) for j in range(m)
        ]

    def forward(x):
        out = np.zeros(((x.shape[0] - k) // stride + 1, (x.shape[1] - k) // stride + 1))
        for i, j, w in windows(x):
            out[i, j] = x[w].max()
        return out, x

    def backward(dout, x):
        dx = np.zeros_like(x)
        for i, j, w in windows(x):
            dx[w] += dout[i, j] * of(x[w])
        return dx

    return forward, backward


def _one_hot(window, at):
    mask = np.zeros(window.size)
    mask[at] = 1
    return mask.reshape(window.shape)


def _largest(window):
    return (window == window.max()) * 1.0


OF = {
    "first": lambda w: _one_hot(w, w.argmax()),
    "last": lambda w: _one_hot(w, w.size - 1 - w.ravel()[::-1].argmax()),
    "all": _largest,
    "share": lambda w: _largest(w) / _largest(w).sum(),
    "twice": lambda w: 2 * _one_hot(w, w.argmax()) - (_largest(w).sum() == 1) * _largest(w),
}


def _tied(rng):
    return {"x": np.maximum(np.round(2 * rng.standard_normal((9, 7))) / 2, 0)}


for _of in ("first", "last", "all", "share"):
    item(
        f"overlapping_windows_of_ties_{_of}",
        why=f"relu zeros and rounded numbers tie; {_of}: a convention",
        truth="reason: a choice at each tie",
    )(lambda rng, of=_of: (_pooled(OF[of]), _tied(rng)))
item(
    "overlapping_windows_of_ties_twice", expect="fail", twin="kinks.overlapping_windows_of_ties_first", truth="kink",
    why="the first of several largest gets twice the gradient",
)(lambda rng: (_pooled(OF["twice"]), _tied(rng)))  # fmt: skip
