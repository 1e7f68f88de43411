"""The tables of the step ladder: their order, and what they refuse to believe."""

import numpy as np
import pytest

from gradverify.oracles._ladder import RATIO, extrapolate, slopes
from gradverify.oracles._noise import POINTS, noise_of_samples
from tests.oracles.support import slope


def columns(f, x, first, levels):
    """phi(+-h) - phi(0) at steps first / RATIO^k, and no noise."""
    steps = first / RATIO ** np.arange(levels)
    return steps[None], (f(x + steps) - f(x))[None], (f(x - steps) - f(x))[None], np.zeros((1, levels))


def order(powers, levels, quotient):
    """log of (error at first step h / error at h / 2) over log 2, of the last entry of the table."""
    errors = []
    for first in (0.5, 0.25):
        rows = quotient(first / RATIO ** np.arange(levels))[None].astype(np.longdouble)
        table = rows
        for p in powers[: levels - 1]:
            table = table[:, 1:] + (table[:, 1:] - table[:, :-1]) / (np.longdouble(RATIO) ** p - 1)
        errors.append(abs(float(table[0, -1] - np.exp(np.longdouble(1)))))
    return np.log2(errors[0] / errors[1])


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_each_column_of_the_central_table_gains_two_orders(levels):
    one = np.longdouble(1)
    measured = order([2, 4, 6], levels, lambda h: (np.exp(one + h) - np.exp(one - h)) / (2 * h))
    assert measured == pytest.approx(2 * levels, abs=0.3)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_each_column_of_a_one_sided_table_gains_one_order(levels):
    one = np.longdouble(1)
    measured = order([1, 2, 3], levels, lambda h: (np.exp(one + h) - np.exp(one)) / h)
    assert measured == pytest.approx(levels, abs=0.4)


def test_the_table_is_exact_for_a_polynomial_that_it_eliminates():
    h = 0.5 / RATIO ** np.arange(5)
    rows = (3.0 + 2.0 * h**2 - 7.0 * h**4 + h**6)[None]
    found = extrapolate(rows, np.full_like(rows, 1e-16), [2, 4, 6, 8])
    level = int(np.argmin(found.error[0]))
    assert found.value[0, level] == pytest.approx(3.0, abs=1e-13)
    assert found.error[0, level] < 1e-6


def test_the_claimed_error_shrinks_with_the_step():
    claimed = [float(slopes(*columns(np.exp, 1.0, first, 4)).error[0]) for first in (0.5, 0.25, 0.125)]
    assert claimed[0] > 5 * claimed[1] > 25 * claimed[2]


def test_noise_is_amplified_by_the_step_and_not_forgotten():
    steps, plus, minus, noise = columns(np.exp, 1.0, 0.125, 4)
    quiet, noisy = slopes(steps, plus, minus, noise), slopes(steps, plus, minus, noise + 1e-6)
    assert noisy.error[0] > quiet.error[0] + 1e-6


def test_levels_that_do_not_agree_claim_as_much_as_they_disagree():
    steps = 0.1 / RATIO ** np.arange(4)
    wild = np.array([[1.0, -3.0, 7.0, 0.2]])
    found = slopes(steps[None], wild, -2 * wild, np.zeros((1, 4)))
    assert found.error[0] > 0.5 * np.std(1.5 * wild / steps)


def test_steps_longer_than_the_wavelength_are_refuted_by_shorter_ones():
    found = slope(lambda x: np.sin(1e4 * x), 1.0)
    assert abs(found["value"] - 1e4 * np.cos(1e4)) <= found["error"]
    assert found["error"] < 1e-2 * 1e4


@pytest.mark.parametrize("sigma", [1e-12, 1e-6, 1.0])
def test_the_difference_table_finds_the_noise_on_a_smooth_function(sigma):
    rng = np.random.default_rng(3)
    found = [
        noise_of_samples(np.exp(1e-6 * np.arange(POINTS)) + sigma * rng.standard_normal(POINTS)) for _ in range(200)
    ]
    assert np.median(found) == pytest.approx(sigma, rel=0.25)


def test_the_difference_table_finds_no_noise_in_a_polynomial():
    t = np.arange(POINTS, dtype=float)
    assert noise_of_samples(3 - t + t**2) < 1e-13


def test_the_difference_table_does_not_know_where_a_sample_is_not_finite():
    assert np.isnan(noise_of_samples(np.array([1.0, np.nan, *range(POINTS - 2)])))
