"""A line remembers its samples and takes as few as it needs to meet a slope."""

import numpy as np
import pytest

from gradverify.oracles._line import Line, met
from gradverify.oracles.finite_differences import FiniteDifferences
from tests.oracles.support import forward

X = np.random.default_rng(0).standard_normal(40)
V = 0.3 * np.random.default_rng(1).standard_normal(40)


def line(f=np.sin, floor=0.0):
    phi = forward(f, x=X)
    return Line(phi, {"x": V}, max(floor, phi.noise_of(phi.origin))), phi


TRUTH = float(np.sum(np.cos(X) * V))


@pytest.mark.parametrize("few", [False, True])
def test_the_right_slope_is_met_by_a_few_samples(few):
    on, phi = line()
    slope, agrees = met(on, TRUTH, few=few)
    assert agrees
    assert abs(slope.value - TRUTH) <= slope.error
    assert phi.evaluations == 1 + (4 if few else 8)


def test_a_slope_wrong_by_a_hair_is_not_met_and_the_claim_covers_the_truth():
    on, phi = line()
    slope, agrees = met(on, TRUTH * (1 + 1e-9))
    assert not agrees
    assert abs(slope.value - TRUTH) <= slope.error < 1e-10 * abs(TRUTH)
    assert phi.evaluations == 1 + 16


def test_a_slope_that_is_far_off_costs_no_finer_samples():
    on, phi = line()
    _, agrees = met(on, 2 * TRUTH)
    assert not agrees
    assert phi.evaluations == 1 + 8


def test_what_may_be_rounding_of_the_claimed_slope_is_met():
    on, phi = line()
    assert met(on, TRUTH + 1e-6, slack=2e-6)[1]
    assert phi.evaluations == 1 + 8


def test_no_sample_is_taken_twice():
    on, phi = line()
    first = on.four()
    spent = phi.evaluations
    assert on.four() == first
    assert phi.evaluations == spent
    on.eight()
    assert phi.evaluations == spent + 8


def test_a_kink_beside_the_point_is_left_to_the_ladder():
    on, _ = line(lambda x: np.abs(x - X[0] - 0.01 * V[0]))
    truth = float(np.sum(np.sign(X - X[0] - 0.01 * V[0]) * V))
    slope, agrees = met(on, truth)
    assert not (agrees and slope.error < 1e-6)
    found = FiniteDifferences().on(on, accept=1e-7)
    assert abs(found.value[0] - truth) <= found.error[0] < 1e-4
