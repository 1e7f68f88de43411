"""The line integral: sharp in the precision of the implementation, also where the forward knows no other."""

import numpy as np
import pytest

from gradverify.oracles.line_integral import LineIntegral
from tests.oracles.support import forward, value, verify

LOW = ["line-integral", "finite-differences"]


def balance(dtype, factor=1.0):
    x = np.linspace(-1.0, 1.3, 6).astype(dtype)

    def f(x):
        return np.tanh(x.astype(dtype)) * dtype(2)

    def gradients(case):
        slope = dtype(2) * (dtype(1) - np.tanh(case.primals["x"].astype(dtype)) ** 2)
        return {"x": dtype(factor) * slope}

    v = {"x": np.array([0.9, -0.3, 0.5, 1.1, -0.7, 1.0])}
    eps = float(np.finfo(dtype).eps)
    return LineIntegral().along(forward(f, x=x), gradients, v, eps)


@pytest.mark.parametrize(("dtype", "digits"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_a_right_gradient_balances_to_the_digits_of_its_precision(dtype, digits):
    found = balance(dtype)
    assert abs(found.change - found.integral) <= found.error <= digits


@pytest.mark.parametrize(("dtype", "off"), [(np.float64, 1e-11), (np.float32, 1e-3)])
def test_a_gradient_off_by_a_little_does_not_balance(dtype, off):
    found = balance(dtype, 1 + off)
    assert abs(found.change - found.integral) > found.error


def test_a_segment_that_leaves_the_domain_is_no_answer():
    found = LineIntegral().along(
        forward(lambda x: np.where(x == 1.0, x, np.nan), x=np.array([1.0])),
        lambda case: {"x": np.ones(1)}, {"x": np.ones(1)}, 2e-16,
    )  # fmt: skip
    assert found is None


def test_a_gradient_that_is_not_finite_is_no_answer():
    found = LineIntegral().along(
        forward(np.exp, x=np.array([1.0])), lambda case: {"x": np.full(1, np.nan)}, {"x": np.ones(1)}, 2e-16
    )
    assert found is None


def single(x):
    """Computes in float32 whatever it is given."""
    return np.tanh(x.astype(np.float32)) + np.float32(1)


def slope(u, x):
    return (u * (np.float32(1) - np.tanh(x.astype(np.float32)) ** 2)).astype(np.float32)


POINT = np.array([[0.3, -0.8, 1.4], [0.9, -0.1, -1.6]], dtype=np.float32)


def test_float32_code_that_knows_no_float64_passes():
    report = verify(single, slope, POINT, oracles=LOW)
    assert report.verdict == "pass", value(report).why


@pytest.mark.parametrize(
    "wrong",
    [lambda g: -g, lambda g: 1.01 * g, lambda g: g * np.array([[1, 1, 1.01], [1, 1, 1]], g.dtype)],
    ids=["sign", "a hundredth", "one entry by a hundredth"],
)
def test_a_wrong_gradient_of_float32_code_that_knows_no_float64_fails(wrong):
    report = verify(single, lambda u, x: wrong(slope(u, x)), POINT, oracles=LOW)
    assert report.verdict == "fail"


def test_shifted_by_1e4_float32_code_is_still_judged():
    report = verify(lambda x: single(x) + np.float32(1e4), lambda u, x: -slope(u, x), POINT, oracles=LOW)
    assert report.verdict == "fail"


def moving_in_steps(x):
    """An iteration that stops at 1e-4: each output is off by up to that, and the same for samples close together."""
    return np.tanh(x) + 1e-4 * np.modf(1e3 * np.sin(40 * x))[0].round(1)


@pytest.mark.parametrize(("off", "verdicts"), [(0.0, {"pass", "inconclusive"}), (0.01, {"fail"})])
def test_the_steps_of_a_forward_are_no_error_of_the_gradient(off, verdicts):
    def backward(u, x):
        return (1 + off) * u * (1 - np.tanh(x) ** 2)

    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((3, 6))
        report = verify(moving_in_steps, backward, x, oracles=LOW)
        assert value(report).verdict in verdicts
