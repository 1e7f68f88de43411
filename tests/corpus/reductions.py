"""Reductions: means, variances, norms, products with zeros, scans."""

import numpy as np

from tests.corpus._items import item, twins


@twins("mean_axis", why="mean over axis 0", bugs={"all": ("divided by x.size", ("scale", "missing-batch-mean"))})
def mean_axis(rng, bug):
    def forward(x):
        return x.mean(axis=0), x.shape

    def backward(dout, shape):
        return np.ones(shape) * dout / (np.prod(shape) if bug else shape[0])

    return (forward, backward), {"x": rng.standard_normal((5, 3))}


@twins("mean_keepdims", why="centering rows", bugs={"dropped": ("the mean is taken as constant", ("missing-term",))})
def mean_keepdims(rng, bug):
    def forward(x):
        return x - x.mean(axis=1, keepdims=True), None

    def backward(dout, cache):
        return dout if bug else dout - dout.mean(axis=1, keepdims=True)

    return (forward, backward), {"x": rng.standard_normal((3, 5))}


@twins(
    "sum_axis_square",
    why="a square array",
    bugs={"axis": ("broadcast along the other axis", ("wrong-axis", "transposed"))},
)
def sum_axis_square(rng, bug):
    def forward(x):
        return (x**2).sum(axis=1), x

    def backward(dout, x):
        return 2 * x * (dout if bug else dout[:, None])

    return (forward, backward), {"x": rng.standard_normal((4, 4))}


@twins("var", why="1/n", bugs={"ddof": ("1/(n - 1) in backward", ("scale",))})
def var(rng, bug):
    def forward(x):
        return x.var(axis=0), x

    def backward(dout, x):
        n = len(x) - (1 if bug else 0)
        return dout * 2 * (x - x.mean(axis=0)) / n

    return (forward, backward), {"x": rng.standard_normal((6, 3))}


@twins(
    "var_shifted",
    why="mean 1e6, spread 1: the two-pass formula is fine, the one-pass difference cancels",
    bugs={"mean": ("x instead of x - mean", ("missing-term",))},
)
def var_shifted(rng, bug):
    def forward(x):
        return x.var(axis=0), x

    def backward(dout, x):
        return dout * 2 * (x - (0 if bug else x.mean(axis=0))) / len(x)

    return (forward, backward), {"x": 1e6 + rng.standard_normal((6, 3))}


@twins("std", why="(x - mean) / (n std)", bugs={"root": ("the derivative of the variance", ("missing-term",))})
def std(rng, bug):
    def forward(x):
        return x.std(axis=1), x

    def backward(dout, x):
        centred = x - x.mean(axis=1, keepdims=True)
        s = x.std(axis=1, keepdims=True)
        d = 2 * centred / x.shape[1] if bug else centred / (x.shape[1] * s)
        return dout[:, None] * d

    return (forward, backward), {"x": rng.standard_normal((3, 5))}


@twins("logsumexp", why="shifted by the row maximum", bugs={"unnormalised": "exp(x - max) is not divided by its sum"})
def logsumexp(rng, bug):
    def forward(x):
        m = x.max(axis=1, keepdims=True)
        e = np.exp(x - m)
        return np.log(e.sum(axis=1)) + m[:, 0], e

    def backward(dout, e):
        return dout[:, None] * (e if bug else e / e.sum(axis=1, keepdims=True))

    return (forward, backward), {"x": rng.standard_normal((3, 4)) * 3}


@twins(
    "logsumexp_at_1000",
    why="entries near 1000",
    step=1e-6,
    bugs={"overflow": ("exp(x) overflows", ("overflow", "nan-at-edge"))},
)
def logsumexp_huge(rng, bug):
    def forward(x):
        m = x.max()
        return np.log(np.sum(np.exp(x - m))) + m, x

    def backward(dout, x):
        with np.errstate(over="ignore", invalid="ignore"):
            e = np.exp(x - (0 if bug else x.max()))
            return dout * e / e.sum()

    return (forward, backward), {"x": 1000 + rng.standard_normal(5)}


@twins("norm", why="x / |x|", bugs={"square": ("2 x, of the squared norm", ("scale", "missing-activation-derivative"))})
def norm(rng, bug):
    def forward(x):
        return np.sqrt((x**2).sum(axis=1)), x

    def backward(dout, x):
        return dout[:, None] * (2 * x if bug else x / np.sqrt((x**2).sum(axis=1, keepdims=True)))

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@twins(
    "normalise_rows",
    why="x / |x|: projection",
    bugs={"projection": ("the norm is taken as constant", ("missing-term",))},
)
def normalise_rows(rng, bug):
    def forward(x):
        n = np.sqrt((x**2).sum(axis=1, keepdims=True))
        return x / n, (x / n, n)

    def backward(dout, cache):
        y, n = cache
        return dout / n if bug else (dout - y * (dout * y).sum(axis=1, keepdims=True)) / n

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


def _prod_without(x):
    n = len(x)
    return np.array([np.prod(np.delete(x, i)) for i in range(n)], dtype=x.dtype)


@twins(
    "prod_one_zero",
    why="a zero among the factors: only its own derivative is not 0",
    bugs={"ratio": ("prod / x is 0 / 0", ("nan-at-edge", "overflow"))},
)
def prod_one_zero(rng, bug):
    def forward(x):
        return np.prod(x), x

    def backward(dout, x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return dout * (np.prod(x) / x if bug else _prod_without(x))

    return (forward, backward), {"x": np.array([1.5, 0.0, -2.0, 0.7])}


@item("prod_two_zeros", why="two zeros: the gradient is truly 0 (tensorflow#62555)")
def prod_two_zeros(rng):
    def forward(x):
        return np.prod(x), x

    def backward(dout, x):
        return dout * _prod_without(x)

    return (forward, backward), {"x": np.array([1.5, 0.0, -2.0, 0.0])}


@twins("cumsum", why="a reversed cumulative sum", bugs={"forward": ("cumsum again, not reversed", ("permuted",))})
def cumsum(rng, bug):
    def forward(x):
        return np.cumsum(x), None

    def backward(dout, cache):
        return np.cumsum(dout) if bug else np.cumsum(dout[::-1])[::-1]

    return (forward, backward), {"x": rng.standard_normal(6)}


@twins("cumprod", why="no zeros", bugs={"reverse": "the sum runs the wrong way"})
def cumprod(rng, bug):
    def forward(x):
        y = np.cumprod(x)
        return y, (x, y)

    def backward(dout, cache):
        x, y = cache
        s = dout * y
        return (np.cumsum(s) if bug else np.cumsum(s[::-1])[::-1]) / x

    return (forward, backward), {"x": rng.uniform(0.5, 1.5, 5)}


@twins("cumprod_zero", why="a zero in the middle", bugs={"ratio": ("divided by 0", ("nan-at-edge", "overflow"))})
def cumprod_zero(rng, bug):
    def forward(x):
        return np.cumprod(x), x

    def backward(dout, x):
        if bug:
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.cumsum((dout * np.cumprod(x))[::-1])[::-1] / x
        dx = np.zeros_like(x)
        for i in range(len(x)):
            for k in range(i, len(x)):
                dx[i] += dout[k] * np.prod(np.delete(x[: k + 1], i))
        return dx

    return (forward, backward), {"x": np.array([1.2, 0.0, -0.7, 2.0])}


@twins(
    "softmax_axis0",
    why="softmax over columns",
    bugs={
        "elementwise": ("s (1 - s): only the diagonal of the Jacobian", ("softmax-elementwise",)),
        "axis": ("the inner sum runs along the wrong axis", ("wrong-axis",)),
    },
)
def softmax_axis0(rng, bug):
    def forward(x):
        e = np.exp(x - x.max(axis=0))
        s = e / e.sum(axis=0)
        return s, s

    def backward(dout, s):
        if bug == "elementwise":
            return dout * s * (1 - s)
        axis = 1 if bug else 0
        return s * (dout - (dout * s).sum(axis=axis, keepdims=True))

    return (forward, backward), {"x": rng.standard_normal((4, 4))}


@twins("normalise_sum", why="x / sum(x)", bugs={"constant": ("the sum is taken as constant", ("missing-term",))})
def normalise_sum(rng, bug):
    def forward(x):
        return x / x.sum(), x

    def backward(dout, x):
        s = x.sum()
        return dout / s - (0 if bug else (dout * x).sum() / s**2)

    return (forward, backward), {"x": rng.uniform(0.2, 2.0, 6)}


@twins(
    "cosine_similarity", why="both arguments", bugs={"norms": ("the norms are taken as constant", ("missing-term",))}
)
def cosine_similarity(rng, bug):
    def forward(a, b):
        na, nb = np.sqrt(a @ a), np.sqrt(b @ b)
        return a @ b / (na * nb), (a, b, na, nb)

    def backward(dout, cache):
        a, b, na, nb = cache
        c = 0.0 if bug else a @ b / (na * nb)
        return dout * (b / (na * nb) - c * a / na**2), dout * (a / (na * nb) - c * b / nb**2)

    return (forward, backward), {"a": rng.standard_normal(5), "b": rng.standard_normal(5)}


@twins(
    "moving_average",
    why="y_t = a y_(t-1) + (1 - a) x_t",
    bugs={"carry": ("nothing is carried back in time", ("missing-term",))},
)
def moving_average(rng, bug):
    a = 0.8

    def forward(x):
        y = np.zeros_like(x)
        acc = 0.0
        for t in range(len(x)):
            acc = a * acc + (1 - a) * x[t]
            y[t] = acc
        return y, None

    def backward(dout, cache):
        dx, carry = np.zeros_like(dout), 0.0
        for t in reversed(range(len(dout))):
            carry = dout[t] + (0.0 if bug else a * carry)
            dx[t] = (1 - a) * carry
        return dx

    return (forward, backward), {"x": rng.standard_normal(6)}


@twins(
    "weighted_mean",
    why="weights differentiable too",
    bugs={"weights": ("the mean is not subtracted in dw", ("missing-term",))},
)
def weighted_mean(rng, bug):
    def forward(x, w):
        m = (w * x).sum() / w.sum()
        return m, (x, w, m)

    def backward(dout, cache):
        x, w, m = cache
        return dout * w / w.sum(), dout * (x - (0 if bug else m)) / w.sum()

    return (forward, backward), {"x": rng.standard_normal(5), "w": rng.uniform(0.5, 2.0, 5)}
