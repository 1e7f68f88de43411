"""Functions of one number whose derivatives are known, and functions of many whose gradients are: where to measure.

Every derivative is written for extended precision, so that it is more exact than what it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradverify.types import Array

Points = tuple[Array, ...]  #: x (n,) and the parameters of each point, (n,) each


@dataclass(frozen=True, kw_only=True)
class Family:
    """Functions of one number.

    draw    (rng, n) -> x and parameters, (n,) each
    f, df   (x, *parameters) -> value, derivative; elementwise
    right   the right derivative where the left one differs from it: ``df`` is then the left one
    """

    name: str
    kind: str
    draw: Callable[[np.random.Generator, int], Points]
    f: Callable[..., Array]
    df: Callable[..., Array]
    right: Callable[..., Array] | None = None


@dataclass(frozen=True, kw_only=True)
class Field:
    """Functions of many numbers, asked along directions: ``f`` (x (n,)) -> (m,), ``df`` (x, upstream) -> (n,)."""

    name: str
    draw: Callable[[np.random.Generator], Array]
    f: Callable[[Array], Array]
    df: Callable[[Array, Array], Array]


def _x(low: float = -3.0, high: float = 3.0, scale: float = 1.0) -> Callable[[np.random.Generator, int], Points]:
    return lambda rng, n: (scale * rng.uniform(low, high, n),)


def _positive(low: float = -6.0, high: float = 1.0) -> Callable[[np.random.Generator, int], Points]:
    return lambda rng, n: (10 ** rng.uniform(low, high, n),)


def _rate(rng: np.random.Generator, n: int) -> Points:
    """Numbers of order 1, and rates between 1 and 1e4."""
    return rng.uniform(-3, 3, n), 10 ** rng.uniform(0, 4, n)


def _beside(rng: np.random.Generator, n: int) -> Points:
    """A point, and a kink 1e-9 to 1e-1 from it on either side; half of the points are 0."""
    x = np.where(rng.random(n) < 0.5, 0.0, rng.uniform(-2, 2, n))
    return x, x + rng.choice([-1, 1], n) * 10 ** rng.uniform(-9, -1, n)


def _at(rng: np.random.Generator, n: int) -> Points:
    """The point is the kink; half of them are 0."""
    x = np.where(rng.random(n) < 0.5, 0.0, rng.uniform(-2, 2, n))
    return x, x.copy()


def _steep(rng: np.random.Generator, n: int) -> Points:
    a = 10 ** rng.uniform(0, 4, n)
    return rng.uniform(-2, 2, n) * rng.uniform(0, 2, n) / a, a


def _rough(x: Array) -> Array:
    """Noise of at most 1: a function of x that no step resolves."""
    return np.asarray(np.sin(1e14 * x + 7 * np.cos(1e13 * x)))


def _deep(x: Array) -> Array:
    for _ in range(4):
        x = np.tanh(1.3 * np.sin(2.0 * x))
    return x


def _d_deep(x: Array) -> Array:
    slope = np.ones_like(x)
    for _ in range(4):
        z = 1.3 * np.sin(2.0 * x)
        slope = slope * 2.6 * np.cos(2.0 * x) / np.cosh(z) ** 2
        x = np.tanh(z)
    return slope


def _sigmoids(x: Array) -> Array:
    for _ in range(12):
        x = 1 / (1 + np.exp(-x))
    return x


def _d_sigmoids(x: Array) -> Array:
    slope = np.ones_like(x)
    for _ in range(12):
        x = 1 / (1 + np.exp(-x))
        slope = slope * x * (1 - x)
    return slope


def _d_tanh(x: Array) -> Array:
    return 1 / np.cosh(x) ** 2


def _single(x: Array) -> Array:
    """A forward that computes in float32 whatever it is given."""
    y = x.astype(np.float32)
    return np.asarray(np.tanh(y) + y * np.float32(0.5))


FAMILIES = (
    Family(name="exp", kind="smooth", draw=_x(), f=np.exp, df=np.exp),
    Family(name="sin", kind="smooth", draw=_x(), f=np.sin, df=np.cos),
    Family(name="tanh", kind="smooth", draw=_x(), f=np.tanh, df=_d_tanh),
    Family(name="polynomial", kind="smooth", draw=_x(), f=lambda x: x**5 - 3 * x**3 + x,
           df=lambda x: 5 * x**4 - 9 * x * x + 1),
    Family(name="straight line", kind="smooth", draw=_x(), f=lambda x: 3 * x - 1, df=lambda x: 3 + 0 * x),
    Family(name="constant", kind="smooth", draw=_x(), f=lambda x: 5 + 0 * x, df=lambda x: 0 * x),
    Family(name="Runge", kind="stiff", draw=_x(), f=lambda x: 1 / (1 + 25 * x * x),
           df=lambda x: -50 * x / (1 + 25 * x * x) ** 2),
    Family(name="bump", kind="stiff", draw=_x(-0.99, 0.99),
           f=lambda x: np.where(np.abs(x) < 1, np.exp(-1 / np.maximum(1 - x * x, 1e-300)), 0.0),
           df=lambda x: -2 * x / (1 - x * x) ** 2 * np.exp(-1 / (1 - x * x))),
    Family(name="tanh(a x), a to 1e4", kind="stiff", draw=_steep, f=lambda x, a: np.tanh(a * x),
           df=lambda x, a: a * _d_tanh(a * x)),
    Family(name="sin(a x), a to 1e4", kind="oscillating", draw=_rate, f=lambda x, a: np.sin(a * x),
           df=lambda x, a: a * np.cos(a * x)),
    Family(name="exp + noise 1e-9", kind="noisy", draw=_x(), f=lambda x: np.exp(x) + 1e-9 * _rough(x), df=np.exp),
    Family(name="sin + noise 1e-6", kind="noisy", draw=_x(), f=lambda x: np.sin(x) + 1e-6 * _rough(x), df=np.cos),
    Family(name="float32 inside", kind="noisy", draw=lambda rng, n: (rng.uniform(-3, 3, n).astype(np.float32) + 0.0,),
           f=_single, df=lambda x: _d_tanh(x) + 0.5),
    Family(name="sin x 1e8", kind="huge", draw=_x(), f=lambda x: 1e8 * np.sin(x), df=lambda x: 1e8 * np.cos(x)),
    Family(name="sin x 1e-8", kind="tiny", draw=_x(), f=lambda x: 1e-8 * np.sin(x), df=lambda x: 1e-8 * np.cos(x)),
    Family(name="sin + 1e6", kind="shifted", draw=_x(), f=lambda x: 1e6 + np.sin(x), df=np.cos),
    Family(name="sin at 1e6", kind="big argument", draw=_x(scale=1e6), f=np.sin, df=np.cos),
    Family(name="tanh + 1/2 at 1e-9", kind="small argument", draw=_x(scale=1e-9), f=lambda x: np.tanh(x) + 0.5,
           df=_d_tanh),
    Family(name="tanh(sin(2 x)) 4 deep", kind="deep", draw=_x(), f=_deep, df=_d_deep),
    Family(name="sigmoid 12 deep", kind="deep", draw=_x(), f=_sigmoids, df=_d_sigmoids),
    Family(name="log, 1e-6 to 10", kind="edge", draw=_positive(), f=np.log, df=lambda x: 1 / x),
    Family(name="sqrt, 1e-6 to 10", kind="edge", draw=_positive(), f=np.sqrt, df=lambda x: 0.5 / np.sqrt(x)),
    Family(name="1/x, 1e-6 to 10", kind="edge", draw=_positive(), f=lambda x: 1 / x, df=lambda x: -1 / x**2),
    Family(name="x^1.5, 1e-6 to 10", kind="edge", draw=_positive(), f=lambda x: x**1.5, df=lambda x: 1.5 * x**0.5),
    Family(name="arccos, to 1e-9 of 1", kind="edge", draw=lambda rng, n: (1 - 10 ** rng.uniform(-9, -0.1, n),),
           f=np.arccos, df=lambda x: -1 / np.sqrt((1 - x) * (1 + x))),
    Family(name="a x + x^2 on x >= 0, at 0", kind="edge",
           draw=lambda rng, n: (np.zeros(n), 10 ** rng.uniform(-1, 1, n)),
           f=lambda x, a: a * np.where(x < 0, np.nan, x) + np.where(x < 0, np.nan, x * x), df=lambda x, a: a + 2 * x),
    Family(name="abs beside 0", kind="near-kinked", draw=_beside, f=lambda x, k: np.abs(x - k) + np.sin(x),
           df=lambda x, k: np.sign(x - k) + np.cos(x)),
    Family(name="relu beside 0", kind="near-kinked", draw=_beside, f=lambda x, k: 2 * np.maximum(x - k, 0) + x * x,
           df=lambda x, k: 2 * (x > k) + 2 * x),
    Family(name="abs at 0", kind="kinked", draw=_at, f=lambda x, k: np.abs(x - k) + np.sin(x),
           df=lambda x, k: np.cos(x) - 1, right=lambda x, k: np.cos(x) + 1),
    Family(name="leaky relu at 0", kind="kinked", draw=_at,
           f=lambda x, k: np.where(x > k, x - k, 0.01 * (x - k)) + np.exp(x),
           df=lambda x, k: np.exp(x) + 0.01, right=lambda x, k: np.exp(x) + 1),
    Family(name="hinge at 1", kind="kinked", draw=lambda rng, n: (np.ones(n), rng.uniform(0.5, 3, n)),
           f=lambda x, a: a * np.maximum(1 - x, 0) + x * x,
           df=lambda x, a: 2 * x - a, right=lambda x, a: 2 * x + 0 * a),
)  # fmt: skip


def _normal(n: int) -> Callable[[np.random.Generator], Array]:
    return lambda rng: rng.standard_normal(n)


def _softmax(x: Array) -> Array:
    e = np.exp(x - np.max(x))
    return np.asarray(e / np.sum(e))


def _d_softmax(x: Array, u: Array) -> Array:
    s = _softmax(x)
    return np.asarray(s * (u - np.sum(u * s)))


#: Two fixed layers of a network, 8 -> 6 -> 3.
_FIRST = np.random.default_rng(1).standard_normal((6, 8)) / np.sqrt(8)
_SECOND = np.random.default_rng(2).standard_normal((3, 6)) / np.sqrt(6)


def _network(x: Array) -> Array:
    return np.asarray(_SECOND @ np.tanh(_FIRST @ x))


def _d_network(x: Array, u: Array) -> Array:
    return np.asarray(_FIRST.T @ (_d_tanh(_FIRST @ x) * (_SECOND.T @ u)))


FIELDS = (
    Field(name="sines, 40 entries", draw=_normal(40), f=np.sin, df=lambda x, u: u * np.cos(x)),
    Field(name="softmax, 10 entries", draw=_normal(10), f=_softmax, df=_d_softmax),
    Field(name="two tanh layers", draw=_normal(8), f=_network, df=_d_network),
    Field(name="squares, 1e4 entries", draw=_normal(10_000), f=lambda x: x * x, df=lambda x, u: 2 * u * x),
    Field(name="product of 12", draw=lambda rng: rng.uniform(0.5, 2, 12), f=lambda x: np.prod(x, keepdims=True),
          df=lambda x, u: u * np.prod(x) / x),
    Field(name="norm, 30 entries", draw=_normal(30), f=lambda x: np.sqrt(np.sum(x * x))[None],
          df=lambda x, u: u * x / np.sqrt(np.sum(x * x))),
    Field(name="log-sum-exp + 1e6", draw=_normal(10), f=lambda x: 1e6 + np.log(np.sum(np.exp(x)))[None],
          df=lambda x, u: u * np.exp(x) / np.sum(np.exp(x))),
    Field(name="entries of 1e-4 to 1e4", draw=lambda rng: rng.choice([-1, 1], 20) * 10 ** rng.uniform(-4, 4, 20),
          f=np.arctan, df=lambda x, u: u / (1 + x * x)),
    Field(name="relu, 30 entries", draw=_normal(30), f=lambda x: np.maximum(x, 0), df=lambda x, u: u * (x > 0)),
)  # fmt: skip
