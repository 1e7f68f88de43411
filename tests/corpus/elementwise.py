"""Element-wise functions at ordinary, tiny, huge and saturated arguments."""

import math

import numpy as np

from tests.corpus._items import item, twins


def _pair(f, df):
    """The commonest shape: forward keeps x, backward multiplies."""

    def forward(x):
        return f(x), x

    def backward(dout, cache):
        return dout * df(cache)

    return forward, backward


def _signs(rng, *shape, low=0.3, high=2.0):
    """Values well away from 0, of both signs, the first one positive."""
    x = rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)
    x.flat[0] = abs(x.flat[0])
    return x


@twins("exp", why="d exp(x) = exp(x)", bugs={"power-rule": "the power rule used on an exponential: x exp(x - 1)"})
def exp(rng, bug):
    df = (lambda x: x * np.exp(x - 1)) if bug else np.exp
    return _pair(np.exp, df), {"x": rng.standard_normal((3, 4))}


@twins(
    "exp_huge",
    why="values near 1e300 are right numbers like others",
    bugs={"sign": ("minus", ("sign", "scale"))},
    truth=lambda p, u: {"x": u * np.exp(p["x"])},
)
def exp_huge(rng, bug):
    sign = -1.0 if bug else 1.0
    return _pair(np.exp, lambda x: sign * np.exp(x)), {"x": rng.uniform(680.0, 695.0, (2, 3))}


@twins(
    "exp_vanishing",
    why="gradients near 1e-130 are right numbers like others",
    bugs={"sign": ("a wrong sign of 1e-130 is a wrong sign", ("sign", "scale"))},
    truth=lambda p, u: {"x": u * np.exp(p["x"])},
)
def exp_vanishing(rng, bug):
    sign = -1.0 if bug else 1.0
    return _pair(np.exp, lambda x: sign * np.exp(x)), {"x": rng.uniform(-301.0, -299.0, (2, 3))}


@twins(
    "log10",
    why="d log10(x) = 1 / (x ln 10)",
    bugs={"natural": ("the derivative of the natural logarithm", ("scale", "missing-term"))},
)
def log10(rng, bug):
    df = (lambda x: 1 / x) if bug else (lambda x: 1 / (x * np.log(10.0)))
    return _pair(np.log10, df), {"x": rng.uniform(0.5, 3.0, (3, 4))}


@twins(
    "log_near_zero",
    why="log at 1e-5: a fixed step leaves the domain or sees only curvature",
    bugs={"epsilon": "1 / (x + 1e-8) is off by a thousandth at 1e-5"},
    truth=lambda p, u: {"x": u / p["x"]},
)
def log_near_zero(rng, bug):
    eps = 1e-8 if bug else 0.0
    return _pair(np.log, lambda x: 1 / (x + eps)), {"x": np.array([[1e-5, 3e-4], [2.0, 7e-5]])}


@twins(
    "sqrt_near_zero",
    why="sqrt at 1e-10 has derivative 5e4",
    bugs={"epsilon": "0.5 / (sqrt(x) + 1e-8) is off by a thousandth at 1e-10"},
    truth=lambda p, u: {"x": 0.5 * u / np.sqrt(p["x"])},
)
def sqrt_near_zero(rng, bug):
    eps = 1e-8 if bug else 0.0
    return _pair(np.sqrt, lambda x: 0.5 / (np.sqrt(x) + eps)), {"x": np.array([1e-10, 4e-9, 0.25, 3.0])}


@twins(
    "sqrt_precedence",
    why="d sqrt(x) = 1 / (2 sqrt(x))",
    bugs={"precedence": "1 / 2 * sqrt(x): operator precedence"},
)
def sqrt_precedence(rng, bug):
    df = (lambda x: 1 / 2 * np.sqrt(x)) if bug else (lambda x: 1 / (2 * np.sqrt(x)))
    return _pair(np.sqrt, df), {"x": rng.uniform(0.5, 3.0, (4, 3))}


@twins("power", why="p x^(p-1)", bugs={"precedence": "p * x ** p - 1"})
def power(rng, bug):
    df = (lambda x: 2.5 * x**2.5 - 1) if bug else (lambda x: 2.5 * x**1.5)
    return _pair(lambda x: x**2.5, df), {"x": rng.uniform(0.5, 2.0, (3, 4))}


@twins("power_both", why="base and exponent both differentiable", bugs={"exponent": "d/dp without log x"})
def power_both(rng, bug):
    def forward(x, p):
        return x**p, (x, p)

    def backward(dout, cache):
        x, p = cache
        dp = dout * x**p * (1.0 if bug else np.log(x))
        return dout * p * x ** (p - 1), dp

    return (forward, backward), {"x": rng.uniform(0.5, 2.0, (3, 4)), "p": rng.uniform(-2.0, 3.0, (3, 4))}


@twins("abs", why="away from 0", bugs={"step": "(x > 0) instead of the sign"})
def absolute(rng, bug):
    df = (lambda x: (x > 0) * 1.0) if bug else np.sign
    return _pair(np.abs, df), {"x": _signs(rng, 3, 4)}


@twins(
    "softplus_extreme",
    why="logaddexp(0, x) at +-800; the derivative is a sigmoid written without overflow",
    bugs={
        "overflow": ("exp(x) / (1 + exp(x)) is inf / inf at 800", ("overflow", "nan-at-edge")),
        "saturated": "the derivative is cut to 0 above 20",
    },
    truth=lambda p, u: {"x": u / (1 + np.exp(-np.clip(p["x"], -700, 700)))},
)
def softplus_extreme(rng, bug):
    def stable(x):
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1.0, e) / (1 + e)

    def naive(x):
        with np.errstate(over="ignore", invalid="ignore"):
            return np.exp(x) / (1 + np.exp(x))

    df = {"": stable, "overflow": naive, "saturated": lambda x: np.where(x > 20, 0.0, stable(x))}[bug]
    return _pair(lambda x: np.logaddexp(0.0, x), df), {"x": np.array([-800.0, -30.0, -1.0, 0.0, 2.0, 40.0, 800.0])}


@twins("softplus_beta", why="log(1 + exp(b x)) / b has the slope sigmoid(b x)", bugs={"beta": "sigmoid(x)"})
def softplus_beta(rng, bug):
    beta = 2.0
    slope = 1.0 if bug else beta
    return _pair(lambda x: np.log(1 + np.exp(beta * x)) / beta, lambda x: 1 / (1 + np.exp(-slope * x))), {
        "x": rng.standard_normal((3, 4))
    }


@twins(
    "gelu_exact",
    why="erf through math.erf, which no tracer can follow",
    bugs={"approximate": "the derivative of the tanh approximation, up to a few 1e-4 off"},
)
def gelu_exact(rng, bug):
    erf = np.vectorize(math.erf, otypes=[float])

    def f(x):
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))

    def df(x):
        if bug:
            c = math.sqrt(2 / math.pi)
            t = np.tanh(c * (x + 0.044715 * x**3))
            return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2)
        return 0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)

    return _pair(f, df), {"x": np.array([[-2.1, -0.4, 0.3], [0.9, 1.7, 2.4]])}


@twins("gelu_tanh", why="the tanh approximation and its own derivative", bugs={"three": "3 is missing before 0.044715"})
def gelu_tanh(rng, bug):
    c, k = math.sqrt(2 / math.pi), (1 if bug else 3)

    def f(x):
        return 0.5 * x * (1 + np.tanh(c * (x + 0.044715 * x**3)))

    def df(x):
        t = np.tanh(c * (x + 0.044715 * x**3))
        return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + k * 0.044715 * x**2)

    return _pair(f, df), {"x": rng.standard_normal((3, 4))}


@twins("mish", why="x tanh(softplus(x))", bugs={"term": ("only the first term", ("missing-term",))})
def mish(rng, bug):
    def f(x):
        return x * np.tanh(np.log1p(np.exp(x)))

    def df(x):
        t = np.tanh(np.log1p(np.exp(x)))
        return t + (0.0 if bug else x * (1 - t**2) / (1 + np.exp(-x)))

    return _pair(f, df), {"x": rng.standard_normal((3, 4))}


def _two(f, backward_xy):
    def forward(a, b):
        return f(a, b), (a, b)

    def backward(dout, cache):
        da, db = backward_xy(*cache)
        return dout * da, dout * db

    return forward, backward


@twins("arctan2", why="all four quadrants", bugs={"sign": ("the sign of the second", ("sign", "scale"))})
def arctan2(rng, bug):
    s = 1.0 if bug else -1.0
    pair = _two(np.arctan2, lambda a, b: (b / (a**2 + b**2), s * a / (a**2 + b**2)))
    return pair, {"a": np.array([1.0, -0.7, 1.3, -2.0]), "b": np.array([0.4, 1.1, -0.8, -0.3])}


@twins("hypot", why="x / r and y / r", bugs={"swapped": "y / r and x / r"})
def hypot(rng, bug):
    def backward_ab(a, b):
        r = np.hypot(a, b)
        return (b / r, a / r) if bug else (a / r, b / r)

    return _two(np.hypot, backward_ab), {"a": _signs(rng, 5), "b": _signs(rng, 5)}


@twins(
    "logaddexp",
    why="two sigmoids; one pair is 1400 apart",
    bugs={"swapped": "the two shares are exchanged"},
    truth=lambda p, u: {
        "a": u / (1 + np.exp(np.clip(p["b"] - p["a"], -700, 700))),
        "b": u / (1 + np.exp(np.clip(p["a"] - p["b"], -700, 700))),
    },
)
def logaddexp(rng, bug):
    def backward_ab(a, b):
        s = np.exp(a - np.logaddexp(a, b))
        t = np.exp(b - np.logaddexp(a, b))
        return (t, s) if bug else (s, t)

    return _two(np.logaddexp, backward_ab), {"a": np.array([0.3, -1.0, 700.0]), "b": np.array([1.0, 2.0, -700.0])}


@twins("xlogx", why="log x + 1", bugs={"one": ("+ 1 is missing", ("missing-term",))})
def xlogx(rng, bug):
    return _pair(lambda x: x * np.log(x), lambda x: np.log(x) + (0 if bug else 1)), {"x": rng.uniform(0.1, 2.0, (3, 4))}


@twins(
    "expm1_tiny",
    why="x near 1e-12: the output is tiny, the slope is 1",
    bugs={"output": "the output is used as the derivative, as if it were exp"},
    truth=lambda p, u: {"x": u * np.exp(p["x"])},
)
def expm1_tiny(rng, bug):
    return _pair(np.expm1, np.expm1 if bug else np.exp), {"x": rng.uniform(1e-13, 1e-12, (2, 3))}


@twins(
    "log1p_tiny",
    why="x near 1e-12, both signs",
    bugs={"log": "1 / x, the derivative of log"},
    truth=lambda p, u: {"x": u / (1 + p["x"])},
)
def log1p_tiny(rng, bug):
    df = (lambda x: 1 / x) if bug else (lambda x: 1 / (1 + x))
    return _pair(np.log1p, df), {"x": np.array([1e-12, -3e-13, 5e-12])}


@twins(
    "sin_of_1e9",
    why="one rounding of the input moves the phase by 1e-7; a fixed step of 1e-6 sees nothing",
    bugs={"float32": "the phase was rounded to float32 on the way"},
    truth=lambda p, u: {"x": u * np.cos(p["x"])},
    tol=1e-5,
)
def sin_of_1e9(rng, bug):
    df = (lambda x: np.cos(np.float32(x).astype(float))) if bug else np.cos
    return _pair(np.sin, df), {"x": np.array([1e9 + 0.5, 0.7e9 + 1.1, -0.9e9 + 0.3])}


@twins(
    "sin_fast",
    why="sin(1000 x) oscillates inside a careless step",
    bugs={"chain": "the factor 1000 is missing"},
    step=1e-5,
)
def sin_fast(rng, bug):
    k = 1.0 if bug else 1000.0
    return _pair(lambda x: np.sin(1000 * x), lambda x: k * np.cos(1000 * x)), {"x": rng.uniform(0.1, 1.0, 5)}


@twins(
    "reciprocal_near_zero",
    why="1 / x at 1e-5 has the slope -1e10",
    bugs={"square": "-1 / x"},
    truth=lambda p, u: {"x": -u / p["x"] ** 2},
)
def reciprocal_near_zero(rng, bug):
    return _pair(lambda x: 1 / x, lambda x: -1 / x if bug else -1 / x**2), {"x": np.array([1e-5, -3e-5, 0.5, 20.0])}


@twins(
    "sigmoid_saturated",
    why="a stable sigmoid at +-800: the gradient is truly 0 there",
    bugs={
        "twice": (
            "the derivative takes the pre-activation but is given the activation",
            ("derivative-of-activation-not-preactivation", "missing-activation-derivative"),
        )
    },
    truth=lambda p, u: {
        "x": u * np.exp(-np.clip(np.abs(p["x"]), 0, 700)) / (1 + np.exp(-np.clip(np.abs(p["x"]), 0, 700))) ** 2
    },
)
def sigmoid_saturated(rng, bug):
    def sigmoid(x):
        e = np.exp(-np.abs(x))
        return np.where(x >= 0, 1 / (1 + e), e / (1 + e))

    def df(x):
        s = sigmoid(sigmoid(x)) if bug else sigmoid(x)
        return s * (1 - s)

    return _pair(sigmoid, df), {"x": np.array([-800.0, -2.0, 0.5, 800.0])}


@twins(
    "sigmoid_branches",
    why="two branches filled through masks",
    bugs={"branch": "the square is missing in the negative branch"},
)
def sigmoid_branches(rng, bug):
    def f(x):
        out = np.empty_like(x)
        pos = x >= 0
        out[pos] = 1 / (1 + np.exp(-x[pos]))
        e = np.exp(x[~pos])
        out[~pos] = e / (1 + e)
        return out

    def df(x):
        out = np.empty_like(x)
        pos = x >= 0
        e = np.exp(-x[pos])
        out[pos] = e / (1 + e) ** 2
        e = np.exp(x[~pos])
        out[~pos] = e / (1 + e) ** (1 if bug else 2)
        return out

    return _pair(f, df), {"x": _signs(rng, 3, 4)}


@twins(
    "tanh",
    why="1 - tanh(x)^2",
    bugs={"input": ("1 - x^2: the derivative at the wrong point", ("derivative-of-activation-not-preactivation",))},
)
def tanh(rng, bug):
    return _pair(np.tanh, (lambda x: 1 - x**2) if bug else (lambda x: 1 - np.tanh(x) ** 2)), {"x": _signs(rng, 3, 4)}


@twins("elu", why="alpha exp(x) on the left", bugs={"alpha": "alpha is missing in the derivative"})
def elu(rng, bug):
    a = 1.0 if bug else 0.7

    def f(x):
        return np.where(x > 0, x, 0.7 * (np.exp(np.minimum(x, 0)) - 1))

    return _pair(f, lambda x: np.where(x > 0, 1.0, a * np.exp(np.minimum(x, 0)))), {"x": _signs(rng, 3, 4)}


@twins(
    "swish_learnable",
    why="x sigmoid(b x) with one scalar b for all entries",
    bugs={"chain": "d/db without the second factor x"},
)
def swish_learnable(rng, bug):
    def forward(x, beta):
        s = 1 / (1 + np.exp(-beta * x))
        return x * s, (x, beta, s)

    def backward(dout, cache):
        x, beta, s = cache
        ds = s * (1 - s)
        return dout * (s + beta * x * ds), np.sum(dout * x * ds * (1 if bug else x))

    return (forward, backward), {"x": rng.standard_normal((3, 4)), "beta": np.array(1.3)}


@twins(
    "sinc",
    why="sin(x) / x with the hole at 0 filled in",
    bugs={"hole": ("0 / 0 in the derivative at 0", ("nan-at-edge",))},
    truth=lambda p, u: {
        "x": u
        * np.where(p["x"] == 0, 0, (p["x"] * np.cos(p["x"]) - np.sin(p["x"])) / np.where(p["x"] == 0, 1, p["x"]) ** 2)
    },
)
def sinc(rng, bug):
    def f(x):
        safe = np.where(x == 0, 1.0, x)
        return np.where(x == 0, 1.0, np.sin(safe) / safe)

    def df(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            d = (x * np.cos(x) - np.sin(x)) / x**2
        return d if bug else np.where(x == 0, 0.0, d)

    return _pair(f, df), {"x": np.array([0.0, 0.5, -1.2, 3.0])}


@twins(
    "cbrt", why="negative arguments too", bugs={"sign": ("the sign of x is left in", ("sign", "scale", "missing-term"))}
)
def cbrt(rng, bug):
    s = np.sign if bug else np.ones_like
    return _pair(np.cbrt, lambda x: s(x) / (3 * np.cbrt(x) ** 2)), {"x": _signs(rng, 6)}


@twins(
    "tan_near_pole",
    why="a distance of 1e-3 from the pole: slope 1e6",
    bugs={"square": "1 / cos(x)"},
    truth=lambda p, u: {"x": u / np.cos(p["x"]) ** 2},
)
def tan_near_pole(rng, bug):
    p = 1 if bug else 2
    return _pair(np.tan, lambda x: 1 / np.cos(x) ** p), {"x": np.array([np.pi / 2 - 1e-3, 0.3, -np.pi / 2 + 5e-3])}


@twins(
    "arccos_near_edge",
    why="1e-6 from the edge of the domain",
    bugs={"sign": ("plus", ("sign", "scale"))},
    truth=lambda p, u: {"x": -u / np.sqrt(1 - p["x"] ** 2)},
)
def arccos_near_edge(rng, bug):
    s = 1.0 if bug else -1.0
    return _pair(np.arccos, lambda x: s / np.sqrt(1 - x**2)), {"x": np.array([1 - 1e-6, -1 + 1e-5, 0.2])}


@twins("rsqrt", why="(x + eps)^-1/2 as norms use it", bugs={"power": "(x + eps)^-1/2 again instead of ^-3/2"})
def rsqrt(rng, bug):
    p = -0.5 if bug else -1.5
    return _pair(lambda x: (x + 1e-5) ** -0.5, lambda x: -0.5 * (x + 1e-5) ** p), {"x": rng.uniform(0.2, 2.0, (3, 4))}


@twins(
    "where_unused_branch",
    why="sqrt only where x > 0; the unused branch must not leak",
    bugs={"leak": ("0 * nan from the unused branch", ("nan-at-edge", "overflow"))},
    truth=lambda p, u: {"x": u * np.where(p["x"] > 0, 0.5 / np.sqrt(np.abs(p["x"])), 0)},
)
def where_unused_branch(rng, bug):
    def f(x):
        return np.where(x > 0, np.sqrt(np.maximum(x, 0)), 0.0)

    def df(x):
        with np.errstate(invalid="ignore"):
            return (x > 0) * 0.5 / np.sqrt(x) if bug else np.where(x > 0, 0.5 / np.sqrt(np.abs(x)), 0.0)

    return _pair(f, df), {"x": _signs(rng, 3, 4)}


@twins(
    "composition",
    why="exp(sin(x^2)): three links",
    bugs={"link": ("the derivative of the innermost is missing", ("missing-activation-derivative", "missing-term"))},
)
def composition(rng, bug):
    inner = np.ones_like if bug else (lambda x: 2 * x)
    return _pair(lambda x: np.exp(np.sin(x**2)), lambda x: np.exp(np.sin(x**2)) * np.cos(x**2) * inner(x)), {
        "x": rng.uniform(-1.5, 1.5, (3, 4))
    }


@twins("square_of_sum", why="the worked example (3x + 5)^2 -> 18x + 30", bugs={"inner": ("2 (3x + 5)", ("scale",))})
def square_of_sum(rng, bug):
    return _pair(lambda x: (3 * x + 5) ** 2, lambda x: 2 * (3 * x + 5) if bug else 18 * x + 30), {
        "x": rng.standard_normal(6)
    }


@item(
    "tanh_saturated_everywhere",
    why="1 / cosh^2 at 30 is 8e-26; an autodiff of tanh knows 1 - t^2 to 1e-16 only",
    expect="pass|inconclusive",
    truth=lambda p, u: {"x": u / np.cosh(p["x"]) ** 2},
)
def tanh_saturated_everywhere(rng):
    return (lambda x: (np.tanh(x), x), lambda d, x: d / np.cosh(x) ** 2), {"x": np.array([30.0, 25.0])}
