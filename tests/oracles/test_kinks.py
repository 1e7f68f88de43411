"""Kinks and ties: inside the one-sided derivatives is a pass, outside is a fail; beside a kink there is no choice."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.oracles.support import slope, value, verify

ORACLES = [None, ["finite-differences"]]


@dataclass
class Kink:
    f: Any
    backward: Any  #: (upstream, x), with one convention at the kink
    at: Any  #: distance from the kink -> x


def scattered(shape, index, u):
    g = np.zeros(shape)
    np.add.at(g, index, u)
    return g


def pooled(x):
    return x.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(2, 2, 4)


def unpooled(u, x):
    first = np.eye(4)[pooled(x).argmax(axis=-1)]
    return (first * u[..., None]).reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)


IMAGE = np.random.default_rng(0).permutation(16).reshape(4, 4) / 4.0 - 1.6


def image(d):
    x = IMAGE.copy()
    x[0, 0] = x[1, 1] = 3.0
    x[1, 1] += d
    return x


KINKS = {
    "abs": Kink(np.abs, lambda u, x: u * np.sign(x), lambda d: np.array([d, 0.7, -1.2])),
    "relu": Kink(lambda x: np.maximum(x, 0), lambda u, x: u * (x > 0), lambda d: np.array([d, 0.7, -1.2])),
    "leaky relu": Kink(
        lambda x: np.where(x > 0, x, 0.01 * x), lambda u, x: u * np.where(x > 0, 1, 0.01),
        lambda d: np.array([d, 0.7, -1.2]),
    ),
    "hinge": Kink(
        lambda x: np.maximum(0, 1 - x), lambda u, x: -u * (x < 1), lambda d: np.array([1 + d, 0.7, 2.2])
    ),
    "hard tanh": Kink(
        lambda x: np.clip(x, -1, 1), lambda u, x: u * ((x > -1) & (x < 1)), lambda d: np.array([1 + d, 0.3, -1.4])
    ),
    "max": Kink(
        lambda x: x.max(), lambda u, x: u * np.eye(4)[x.argmax()], lambda d: np.array([2.0, 0.3, 2.0 + d, -1.4])
    ),
    "max pooling": Kink(lambda x: pooled(x).max(axis=-1), unpooled, image),
    "sort": Kink(
        np.sort, lambda u, x: scattered(x.shape, np.argsort(x, kind="stable"), u),
        lambda d: np.array([2.0, 0.3, 2.0 + d, -1.4]),
    ),
    "median": Kink(
        np.median, lambda u, x: u * np.eye(5)[np.argsort(x, kind="stable")[2]],
        lambda d: np.array([2.0, 0.3, 2.0 + d, 3.4, -1.0]),
    ),
    "quantile loss": Kink(
        lambda x: np.where(x >= 0, 0.9 * x, -0.1 * x), lambda u, x: u * np.where(x >= 0, 0.9, -0.1),
        lambda d: np.array([d, 0.7, -1.2]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("oracles", ORACLES, ids=["all oracles", "differences"])
@pytest.mark.parametrize("distance", [0.0, 1e-9, -1e-9, 1e-6, -1e-6])
@pytest.mark.parametrize("name", KINKS)
def test_a_right_gradient_passes_at_and_beside_a_kink(name, distance, oracles):
    kink = KINKS[name]
    report = verify(kink.f, kink.backward, kink.at(distance), oracles=oracles)
    assert report.verdict == "pass", value(report).why


@pytest.mark.parametrize("oracles", ORACLES, ids=["all oracles", "differences"])
@pytest.mark.parametrize("distance", [0.0, 1e-9, 1e-6])
@pytest.mark.parametrize("name", KINKS)
def test_a_gradient_outside_the_one_sided_derivatives_fails(name, distance, oracles):
    kink = KINKS[name]
    report = verify(kink.f, lambda u, x: 1.5 * kink.backward(u, x) + 0.3, kink.at(distance), oracles=oracles)
    assert report.verdict == "fail"


@pytest.mark.parametrize("name", KINKS)
@pytest.mark.parametrize("oracles", ORACLES, ids=["all oracles", "differences"])
def test_beside_a_kink_the_derivative_of_the_other_side_fails(name, oracles):
    kink = KINKS[name]
    report = verify(kink.f, lambda u, x: kink.backward(u, kink.at(-1e-6)), kink.at(1e-6), oracles=oracles)
    assert report.verdict == "fail"


@pytest.mark.parametrize("oracles", ORACLES, ids=["all oracles", "differences"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_any_subgradient_of_relu_at_zero_passes(share, oracles):
    report = verify(
        lambda x: np.maximum(x, 0), lambda u, x: u * np.where(x == 0, share, x > 0), np.array([0.0, 0.7, -1.2]),
        oracles=oracles,
    )  # fmt: skip
    assert report.verdict == "pass"


@pytest.mark.parametrize("oracles", ORACLES, ids=["all oracles", "differences"])
def test_a_pass_that_used_the_interval_says_so(oracles):
    report = verify(
        lambda x: np.maximum(x, 0), lambda u, x: u * np.where(x == 0, 0.3, x > 0), np.array([0.0, 0.7, -1.2]),
        oracles=oracles,
    )  # fmt: skip
    assert any("kink" in note for note in value(report).notes)


def test_a_fail_at_a_kink_names_the_interval():
    report = verify(
        lambda x: np.maximum(x, 0), lambda u, x: u * np.where(x == 0, 1.5, x > 0), np.array([0.0, 0.7, -1.2]),
        upstream=np.ones(3),
    )  # fmt: skip
    assert value(report).index == (0,)
    assert "one-sided derivatives" in value(report).why


@pytest.mark.parametrize("x", [0.0, 1.3])
def test_the_one_sided_derivatives_carry_their_errors(x):
    found = slope(lambda t: np.abs(t - x) + np.sin(t), x)
    assert found["kink"]
    assert found["lower"] <= np.cos(x) - 1 <= found["lower"] + 1e-6
    assert found["upper"] - 1e-6 <= np.cos(x) + 1 <= found["upper"]


@pytest.mark.parametrize("curvature", [1.0, 1e3])
def test_a_smooth_bend_is_no_kink(curvature):
    found = slope(lambda t: np.sqrt(t * t + 1 / curvature**2), 1e-4)
    assert not found["kink"]
    assert abs(found["value"] - 1e-4 / np.sqrt(1e-8 + curvature**-2)) <= found["error"]


def test_ties_may_be_split():
    report = verify(
        lambda x: x.max(), lambda u, x: u * (x == x.max()) / np.sum(x == x.max()), np.array([2.0, 0.3, 2.0, -1.4])
    )
    assert report.verdict == "pass"


def test_a_tie_of_all_does_not_excuse_a_doubled_gradient():
    report = verify(lambda x: x.max(), lambda u, x: 2.0 * u * (x == x.max()), np.array([2.0, 0.3, 2.0, -1.4]))
    assert report.verdict == "fail"


def test_more_ties_than_are_looked_at_in_a_first_round_are_judged_all_the_same():
    x = np.zeros(28)
    inside = 0.3 + 0.01 * np.arange(28)
    assert value(verify(np.abs, lambda u, x: u * inside, x)).verdict == "pass"
