"""Two formulas for one function: the gradient of either is the gradient, as far as they give the same."""

import numpy as np
import pytest

import gradverify as gv

X = np.array([25.0, 31.0, -3.0, 0.5, 10.0, 22.0])


def softplus(x):
    return np.where(x > 20, x, np.log1p(np.exp(x))), x


def softplus_guarded(x):
    return np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20)))), x


def sigmoid_back(u, x):
    return u / (1 + np.exp(-x))


def sinc(x):
    near = np.abs(x) < 1e-3
    y = np.where(near, 1.0, x)
    return np.where(near, 1 - x**2 / 6, np.sin(x) / np.where(x == 0, 1.0, x)), (x, near, y)


def sinc_back(third):
    """By the quotient far from zero, by one term more of the series than the forward has near it."""

    def backward(u, cache):
        x, near, y = cache
        return u * np.where(near, -x / 3 + third * x**3, (y * np.cos(y) - np.sin(y)) / y**2)

    return backward


def test_a_series_near_zero_may_have_one_term_more_in_its_gradient():
    at = {"x": np.array([9e-4, 1.0, -2.0, -5e-4])}
    assert gv.verify((sinc, sinc_back(0.0)), at).verdict == "pass"
    assert gv.verify((sinc, sinc_back(1 / 30)), at).verdict == "pass"
    assert gv.verify((sinc, sinc_back(1 / 3)), at).verdict == "fail"


@pytest.mark.parametrize("forward", [softplus, softplus_guarded])
def test_softplus_that_is_linear_from_a_threshold_on_may_have_the_sigmoid_for_its_gradient(forward):
    report = gv.verify((forward, sigmoid_back), {"x": X})
    assert report.verdict == "pass"
    assert "the other branch of where" in str(report)
    assert (
        gv.verify((forward, lambda u, x: u * np.where(x > 20, 1.0, 1 / (1 + np.exp(-x)))), {"x": X}).verdict == "pass"
    )


@pytest.mark.parametrize("above", [2.0, 9.0])
def test_a_sigmoid_that_is_one_where_the_softplus_is_not_linear_fails(above):
    def backward(u, x):
        return u * np.where(x > above, 1.0, 1 / (1 + np.exp(-x)))

    assert gv.verify((softplus, backward), {"x": X}).verdict == "fail"


def test_a_threshold_that_is_too_low_to_be_the_same_function_is_none():
    forward = lambda x: (np.where(x > 8, x, np.log1p(np.exp(x))), x)  # noqa: E731  (a forward as data)
    assert gv.verify((forward, sigmoid_back), {"x": np.array([9.0, 1.0])}).verdict == "fail"


def test_the_branch_of_huber_is_not_free_near_its_threshold():
    forward = lambda x: (np.where(np.abs(x) <= 1, 0.5 * x**2, np.abs(x) - 0.5), x)  # noqa: E731  (as above)
    at = {"x": np.array([1 + 1e-4, 0.3, -2.0])}
    assert gv.verify((forward, lambda u, x: u * np.clip(x, -1, 1)), at).verdict == "pass"
    assert gv.verify((forward, lambda u, x: u * np.where(np.abs(x) <= 1.5, x, np.sign(x))), at).verdict == "fail"


def test_a_series_that_is_a_little_off_has_a_slope_of_its_own():
    def exprel(x):
        near = np.abs(x) < 1e-5
        return np.where(near, 1 - x / 2, x / np.expm1(np.where(x == 0, 1.0, x))), (x, near)

    def back(u, cache):
        x, near = cache
        e = np.expm1(x)
        return u * np.where(near, -0.5, (e - x * (e + 1)) / e**2)

    at = {"x": np.array([1.0, -2.0, 0.3, 5e-6])}
    assert gv.verify((exprel, back), at).verdict == "pass"
    without = lambda u, cache: back(u, (cache[0], np.zeros(4, bool)))  # noqa: E731  (that of the function itself)
    assert gv.verify((exprel, without), at).verdict == "pass"
    report = gv.verify((exprel, lambda u, cache: back(u, cache) * np.where(cache[1], 1.00001, 1.0)), at)
    assert report.verdict == "fail"


def test_a_clip_is_no_other_formula_however_small_the_gradient():
    forward = lambda x: (1 / (1 + np.exp(-np.clip(x, -15, 15))), x)  # noqa: E731  (as above)
    s = lambda x: 1 / (1 + np.exp(-np.clip(x, -15, 15)))  # noqa: E731
    at = {"x": np.array([16.0, 0.5, -1.0])}
    assert gv.verify((forward, lambda u, x: u * s(x) * (1 - s(x)) * (np.abs(x) < 15)), at).verdict == "pass"
    assert gv.verify((forward, lambda u, x: u * s(x) * (1 - s(x))), at).verdict == "fail"
