"""The same gradients at other scales: scaled and shifted losses, tiny and huge inputs, true zeros."""

import numpy as np

from tests.corpus._items import item, twins


def _net(scale=1.0, shift=0.0, bug=""):
    """A small tanh network with its loss scaled and shifted."""
    factor = {"sign": -1.0, "double": 2.0}.get(bug, 1.0)

    def forward(W, v, X, y):
        a = np.tanh(X @ W)
        r = a @ v - y
        return scale * np.mean(r**2) + shift, (X, a, r, v)

    def backward(g, cache):
        X, a, r, v = cache
        d = factor * g * scale * 2 * r / len(r)
        dv = a.T @ d
        if bug == "entry":
            dv[1] *= 1.01
        return X.T @ (np.outer(d, v) * (1 - a**2)), dv

    return forward, backward


def _data(rng):
    primals = {"W": rng.standard_normal((3, 4)), "v": rng.standard_normal(4)}
    return primals, {"constants": {"X": rng.standard_normal((6, 3)), "y": rng.standard_normal(6)}}


BUGS = {
    "sign": ("the wrong sign", ("sign", "scale")),
    "double": ("twice the gradient", ("scale",)),
    "entry": ("one entry off by 1 %", ()),
}


def _scaled(name, scale, shift, why, **more):
    @twins(name, why=why, bugs=BUGS, **more)
    def build(rng, bug):
        return _net(scale, shift, bug), *_data(rng)

    return build


_scaled("loss_times_1e-8", 1e-8, 0.0, "a loss in other units is judged like the loss itself")
_scaled("loss_times_1e8", 1e8, 0.0, "a loss in other units is judged like the loss itself")
_scaled("loss_times_1e-30", 1e-30, 0.0, "far below every absolute tolerance")
_scaled("loss_plus_1e6", 1.0, 1e6, "the shift costs the differences six digits, not the verdict", tol=1e-5)
_scaled("loss_minus_3e8", 1.0, -3e8, "the shift costs the differences nine digits", tol=1e-4, step=1e-2)


@twins(
    "inputs_1e-12",
    why="a quadratic at 1e-12: steps must scale with the point",
    bugs={"two": ("the factor 2 is missing", ("scale",))},
)
def inputs_tiny(rng, bug):
    def forward(x):
        return np.sum(x**2), x

    def backward(g, x):
        return g * x * (1 if bug else 2)

    return (forward, backward), {"x": 1e-12 * rng.standard_normal((2, 3))}


@twins("inputs_1e6", why="sqrt(1 + x^2) at 1e6", bugs={"two": ("the factor 2 stays in", ("scale",))})
def inputs_huge(rng, bug):
    def forward(x):
        return np.sqrt(1 + x**2), x

    def backward(g, x):
        return g * x * (2 if bug else 1) / np.sqrt(1 + x**2)

    return (forward, backward), {"x": 1e6 * rng.standard_normal((2, 3))}


@twins(
    "mixed_primals",
    why="one primal near 1e-6, the other near 1e6: gradients near 1e6 and 1e-6",
    bugs={
        "small": ("the small gradient has the wrong sign: invisible next to the other", ("sign", "scale")),
        "large": ("the large gradient is doubled", ("scale",)),
    },
)
def mixed_primals(rng, bug):
    def forward(small, large):
        return small * large + np.sin(large * 1e-6), (small, large)

    def backward(g, cache):
        small, large = cache
        dlarge = g * (small + 1e-6 * np.cos(large * 1e-6))
        return g * large * (2 if bug == "large" else 1), (-1 if bug == "small" else 1) * dlarge

    return (forward, backward), {"small": 1e-6 * rng.standard_normal(4), "large": 1e6 * rng.uniform(0.5, 2, 4)}


@twins(
    "mixed_entries",
    why="one primal whose gradient entries run from 1e-4 to 1e4",
    bugs={"small": ("the smallest entry has the wrong sign", ("sign",))},
)
def mixed_entries(rng, bug):
    s = 10.0 ** np.array([-4.0, -2.0, 0.0, 2.0, 4.0])

    def forward(x):
        return s * np.sin(x), x

    def backward(g, x):
        d = g * s * np.cos(x)
        if bug:
            d[0] = -d[0]
        return d

    return (forward, backward), {"x": rng.uniform(0.2, 1.0, 5)}


@item("constant_function", why="the output does not depend on x: truly zero")
def constant_function(rng):
    def forward(x):
        return np.sum(x * 0.0) + 3.0, x

    def backward(g, x):
        return np.zeros_like(x)

    return (forward, backward), {"x": rng.standard_normal(4)}


@item("softmax_shift_invariance", why="sum of softmax is 1: the gradient is zero up to rounding 1e-17")
def softmax_sum(rng):
    def forward(x):
        e = np.exp(x - x.max())
        s = e / e.sum()
        return s.sum(), s

    def backward(g, s):
        d = g * np.ones_like(s)
        return s * (d - np.sum(d * s))

    return (forward, backward), {"x": rng.standard_normal(5)}


@item("batchnorm_beta_before_norm", why="a bias before a normalisation: its gradient is zero up to rounding")
def bias_before_norm(rng):
    def forward(x, b):
        z = x + b
        mu, std = z.mean(axis=0), np.sqrt(z.var(axis=0) + 1e-5)
        return (z - mu) / std, ((z - mu) / std, std)

    def backward(g, cache):
        zh, std = cache
        dz = (g - g.mean(axis=0) - zh * (g * zh).mean(axis=0)) / std
        return dz, dz.sum(axis=0)

    return (forward, backward), {"x": rng.standard_normal((6, 3)), "b": rng.standard_normal(3)}


@item(
    "one_dead_primal",
    expect="fail",
    why="a primal that matters is handed zeros",
    causes=("zeroed-entries", "detached"),
    twin="scales.one_live_primal",
)
def one_dead_primal(rng):
    def forward(a, b):
        return np.sin(a) * b, (a, b)

    def backward(g, cache):
        a, _b = cache
        return np.zeros_like(a), g * np.sin(a)

    return (forward, backward), {"a": rng.standard_normal(4), "b": 1e-7 * rng.standard_normal(4)}


@item("one_live_primal", why="sin(a) b with b near 1e-7: gradients near 1e-7 next to others near 1")
def one_live_primal(rng):
    def forward(a, b):
        return np.sin(a) * b, (a, b)

    def backward(g, cache):
        a, b = cache
        return g * np.cos(a) * b, g * np.sin(a)

    return (forward, backward), {"a": rng.standard_normal(4), "b": 1e-7 * rng.standard_normal(4)}


@twins(
    "stiff",
    why="exp(50 x) beside x: curvature 2500",
    bugs={"chain": ("the factor 50 is missing", ("scale", "missing-term"))},
)
def stiff(rng, bug):
    def forward(x):
        return np.exp(50 * x) + x, x

    def backward(g, x):
        return g * ((1 if bug else 50) * np.exp(50 * x) + 1)

    return (forward, backward), {"x": rng.uniform(-0.1, 0.2, 4)}, {}


@twins(
    "upstream_1e-10",
    why="the upstream that the user gives is tiny",
    bugs={"sign": ("the wrong sign", ("sign", "scale"))},
)
def upstream_tiny(rng, bug):
    def forward(x):
        return np.sin(x), x

    def backward(g, x):
        return (-1 if bug else 1) * g * np.cos(x)

    x = rng.standard_normal((2, 3))
    return (forward, backward), {"x": x}, {"upstream": 1e-10 * rng.standard_normal((2, 3))}


@twins("big_dot", why="a dot product of 20000 terms", bugs={"one": "one median entry is off by 1e-3"})
def big_dot(rng, bug):
    def forward(w, x):
        return np.dot(w, x), (w, x)

    def backward(g, cache):
        _w, x = cache
        dw = g * x
        if bug:
            dw = dw.copy()
            dw[np.argsort(np.abs(dw))[10000]] *= 1.001
        return dw

    return (forward, backward), {"w": rng.standard_normal(20000)}, {"constants": {"x": rng.standard_normal(20000)}}


@twins(
    "entries_of_all_sizes",
    why="1e-8 beside 1e8: each entry of an elementwise function has all its digits",
    bugs={
        "faintest-lost": "the smallest entry is zeroed",
        "faintest-doubled": "the smallest entry is doubled",
        "faintest-permille": "the smallest entry is off by a thousandth",
    },
    truth=lambda p, u: {"x": 2 * u * p["x"]},
    differs="an entry far below the largest, which the soundness test does not look at",
)
def entries_of_all_sizes(rng, bug):
    factor = {"": 1, "faintest-lost": 0, "faintest-doubled": 2, "faintest-permille": 1.001}[bug]

    def backward(d, x):
        return 2 * d * x * np.where(np.abs(x) == np.abs(x).min(), factor, 1)

    return (lambda x: (np.sum(x**2), x), backward), {"x": np.array([1e8, 1.0, 1e-8, 3e7, -2e-8, 0.5])}


@twins(
    "sigmoid_tails",
    why="s (1 - s) at -38 is 3e-17: it cancels at the other end only",
    bugs={"flushed": "what is below 1e-16 is taken for zero"},
    truth=lambda p, u: {"x": u * np.exp(-np.abs(p["x"])) / (1 + np.exp(-np.abs(p["x"]))) ** 2},
    differs="an entry far below the largest, which the soundness test does not look at",
)
def sigmoid_tails(rng, bug):
    def forward(x):
        s = 1 / (1 + np.exp(-x))
        return s, s

    return (forward, lambda d, s: d * (s * (1 - s)) * (s > (1e-16 if bug else 0))), {
        "x": np.array([-40.0, -38.0, 0.3, 3.0])
    }
