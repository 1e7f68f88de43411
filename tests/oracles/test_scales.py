"""A function scaled or shifted is judged like the function itself, end to end."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.support import value, verify

X = np.array([0.3, -0.8, 1.4])
ORACLES = {"all oracles": None, "differences": ["finite-differences"]}
scales = st.floats(-9, 9).map(lambda e: 10.0**e)


@pytest.mark.parametrize("oracles", ORACLES.values(), ids=ORACLES)
@given(scale=scales, shift=st.sampled_from([0.0, 1.0, -1e3]))
@settings(max_examples=8, deadline=None)
def test_a_right_gradient_passes_at_every_scale_and_shift(oracles, scale, shift):
    report = verify(
        lambda x: scale * (np.tanh(x) + shift), lambda u, x: u * scale * (1 - np.tanh(x) ** 2), X, oracles=oracles
    )
    assert report.verdict == "pass", value(report).why


@pytest.mark.parametrize("oracles", ORACLES.values(), ids=ORACLES)
@given(scale=scales, shift=st.sampled_from([0.0, 1.0, -1e3]), factor=st.sampled_from([-1.0, 0.0, 0.99, 2.0]))
@settings(max_examples=8, deadline=None)
def test_a_wrong_gradient_fails_at_every_scale_and_shift(oracles, scale, shift, factor):
    report = verify(
        lambda x: scale * (np.tanh(x) + shift), lambda u, x: factor * u * scale * (1 - np.tanh(x) ** 2), X,
        oracles=oracles,
    )  # fmt: skip
    assert report.verdict == "fail"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (-1.0, "fail"), (1.001, "fail")])
def test_a_loss_a_million_above_zero_is_judged(factor, verdict):
    report = verify(lambda x: 1e6 + np.sum(np.sin(x)), lambda u, x: factor * u * np.cos(x), X)
    assert report.verdict == verdict


def deep(x):
    for _ in range(25):
        x = 1 / (1 + np.exp(-x))
    return x


def deep_slope(u, x):
    slope = u
    for _ in range(25):
        x = 1 / (1 + np.exp(-x))
        slope = slope * x * (1 - x)
    return slope


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (-1.0, "fail"), (2.0, "fail")])
def test_a_gradient_that_vanishes_in_depth_is_decided_by_another_oracle(factor, verdict):
    pytest.importorskip("torch")
    assert np.max(np.abs(deep_slope(1.0, X))) < 1e-14
    assert verify(deep, lambda u, x: factor * deep_slope(u, x), X).verdict == verdict


@pytest.mark.parametrize("oracles", ORACLES.values(), ids=ORACLES)
def test_a_true_zero_gradient_passes_as_zero_to_within_a_resolution(oracles):
    report = verify(lambda x: np.ones(3) + 0 * x, lambda u, x: np.zeros(3), X, oracles=oracles)
    assert report.verdict == "pass"
    assert value(report).resolution < 1e-6


@pytest.mark.parametrize("oracles", ORACLES.values(), ids=ORACLES)
def test_a_gradient_where_there_is_none_fails(oracles):
    report = verify(lambda x: np.ones(3) + 0 * x, lambda u, x: 1e-3 * u, X, oracles=oracles)
    assert report.verdict == "fail"
