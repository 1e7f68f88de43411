"""Softmax, cross-entropy and the other losses: the combined gradient, labels, reductions, accuracy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference_impl as ri

logits = hnp.arrays(np.float64, (3, 4), elements=st.floats(-1e4, 1e4))
mild = hnp.arrays(np.float64, (3, 4), elements=st.floats(-20, 20))
Y = np.array([2, 0, 3])


@given(z=mild)
def test_the_combined_gradient_is_p_minus_y(z):
    _, pullback = ri.softmax_cross_entropy(z, Y, reduction="sum")
    assert np.allclose(pullback(1.0)[0], ri.softmax(z)[0] - np.eye(4)[Y], rtol=0, atol=1e-15)


@given(z=mild)
def test_the_two_step_version_agrees_where_nothing_underflows(z):
    (one, back), (two, naive) = (f(z, Y) for f in (ri.softmax_cross_entropy, ri.softmax_cross_entropy_two_step))
    assert np.isclose(one, two, rtol=1e-12, atol=1e-15)
    assert np.allclose(back(1.0)[0], naive(1.0)[0], rtol=0, atol=1e-14)


def test_the_two_step_version_breaks_where_the_combined_one_does_not():
    z = np.array([[0.0, 1000.0]])
    (one, back), (two, naive) = (f(z, [0]) for f in (ri.softmax_cross_entropy, ri.softmax_cross_entropy_two_step))
    assert (one, two) == (1000.0, math.inf)
    assert np.array_equal(back(1.0)[0], [[-1.0, 1.0]])
    assert np.isnan(naive(1.0)[0]).any()


def test_a_nearly_right_prediction_keeps_its_digits():
    z = np.array([[40.0, 0.0]])
    L, pullback = ri.softmax_cross_entropy(z, [0])
    assert np.isclose(L, math.log1p(math.exp(-40)), rtol=1e-14, atol=0)
    assert np.allclose(pullback(1.0)[0], math.exp(-40) * np.array([[-1, 1]]), rtol=1e-14, atol=0)
    L, pullback = ri.bce_with_logits(z, [[1.0, 0.5]], reduction="none")
    assert np.isclose(L[0, 0], math.exp(-40), rtol=1e-14, atol=0)
    assert np.isclose(pullback([[1.0, 0.0]])[0][0, 0], -math.exp(-40), rtol=1e-14, atol=0)


@given(z=logits)
def test_the_gradient_of_cross_entropy_sums_to_zero_in_every_row(z):
    _, pullback = ri.softmax_cross_entropy(z, Y)
    assert np.allclose(pullback(1.0)[0].sum(axis=-1), 0, atol=1e-15)


@given(z=logits)
def test_softmax_is_a_distribution_whatever_the_logits(z):
    p, _ = ri.softmax(z)
    assert (p >= 0).all()
    assert np.allclose(p.sum(axis=-1), 1, rtol=1e-14, atol=0)


@given(z=mild, c=st.floats(-100, 100))
def test_a_constant_added_to_the_logits_changes_nothing(z, c):
    assert np.allclose(ri.softmax(z + c)[0], ri.softmax(z)[0], rtol=1e-11, atol=0)


@given(z=logits)
def test_losses_are_finite_and_silent_at_large_logits(z):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for loss, y in ((ri.softmax_cross_entropy, Y), (ri.bce_with_logits, (z > 0).astype(float))):
            L, pullback = loss(z, y)
            assert np.isfinite(L)
            assert np.isfinite(pullback(1.0)[0]).all()


@given(z=logits)
def test_cross_entropy_is_never_negative(z):
    assert (ri.softmax_cross_entropy(z, Y, reduction="none")[0] >= 0).all()


@given(z=mild)
def test_labels_may_be_integers_or_one_hot(z):
    one_hot = np.eye(4, dtype=int)[Y]
    (by_index, back), (by_row, back_row) = (ri.softmax_cross_entropy(z, y) for y in (Y, one_hot))
    assert by_index == by_row
    assert np.array_equal(back(1.0)[0], back_row(1.0)[0])


@given(z=mild)
def test_two_classes_are_binary_cross_entropy_of_the_difference(z):
    pair, y = z[:, :2], np.array([1, 0, 1])
    two, _ = ri.softmax_cross_entropy(pair, y)
    one, _ = ri.bce_with_logits(pair[:, 1] - pair[:, 0], y)
    assert np.isclose(two, one, rtol=1e-12, atol=1e-15)


LOSSES = {
    "half_squared_error": ri.half_squared_error,
    "mse": ri.mse,
    "huber": ri.huber,
    "bce_with_logits": ri.bce_with_logits,
    "softmax_cross_entropy": ri.softmax_cross_entropy,
}


@pytest.mark.parametrize("name", LOSSES)
def test_mean_sum_and_none_are_one_loss(name):
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((3, 4)), np.eye(4)[Y]
    (mean, back_mean), (total, back_sum), (each, back_each) = (
        LOSSES[name](z, y, reduction=r) for r in ("mean", "sum", "none")
    )
    assert np.isclose(mean, each.mean(), rtol=1e-15, atol=0)
    assert np.isclose(total, each.sum(), rtol=1e-15, atol=0)
    assert np.allclose(back_mean(1.0)[0], back_each(np.full(each.shape, 1 / each.size))[0], rtol=1e-14, atol=0)
    assert np.allclose(back_sum(1.0)[0], back_each(np.ones(each.shape))[0], rtol=1e-14, atol=0)


def test_labels_have_no_gradient_and_targets_do():
    z = np.zeros((3, 4))
    assert ri.softmax_cross_entropy(z, Y)[1](1.0)[1] is None
    assert ri.bce_with_logits(z, z)[1](1.0)[1] is None
    dA, dY = ri.half_squared_error(z, z + 1)[1](1.0)
    assert np.array_equal(dA, -dY)


def test_huber_is_quadratic_inside_and_linear_outside():
    L, pullback = ri.huber(np.array([0.5, -3.0]), np.zeros(2), delta=1.0, reduction="none")
    assert np.array_equal(L, [0.125, 2.5])
    assert np.array_equal(pullback(np.ones(2))[0], [0.5, -1.0])


def test_whole_number_targets_do_not_widen_float32():
    assert ri.mse(np.zeros((2, 2), np.float32), [[1, 2], [3, 4]])[0].dtype == np.float32
