"""The rules of the calculus review, as the text states them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_impl as ri

moderate = st.floats(-5, 5)
x_values = np.linspace(-2, 2, 9)


def slope(f, x):
    y, pullback = f(x)
    return pullback(np.ones_like(y))[0]


@pytest.mark.parametrize("n", [2, 3, -1, -2, 0.5, 1, 0])
def test_the_power_rule(n):
    x = np.array([0.5, 1.0, 3.0])
    assert np.allclose(slope(lambda x: ri.power(x, n=n), x), n * x ** (n - 1.0), rtol=1e-15, atol=0)


def test_x_to_the_zero_is_flat_at_zero_too():
    assert slope(lambda x: ri.power(x, n=0), [0.0]) == [0.0]


def test_exponential_is_its_own_derivative():
    assert np.array_equal(slope(ri.exponential, x_values), np.exp(x_values))


def test_the_derivative_of_the_logarithm_is_one_over_x():
    assert np.array_equal(slope(ri.logarithm, [0.25, 4.0]), [4.0, 0.25])


def test_the_logarithm_has_no_derivative_left_of_zero():
    assert np.isnan(slope(ri.logarithm, [-1.0])).all()


def test_the_derivative_of_a_constant_is_zeros_not_nothing():
    assert np.array_equal(slope(lambda x: ri.constant(x, c=3.0), x_values), np.zeros(9))


@given(c=moderate, x=moderate)
def test_the_constant_multiple_rule(c, x):
    assert np.isclose(slope(ri.constant_multiple(c, ri.exponential), x), c * np.exp(x), rtol=1e-14, atol=0)


@given(x=moderate)
def test_the_sum_rule(x):
    assert np.isclose(slope(ri.sum_rule(ri.power, ri.exponential), x), 2 * x + np.exp(x), rtol=1e-14, atol=1e-14)


@given(x=st.integers(-1000, 1000))
def test_the_worked_example_is_18x_plus_30_exactly_on_integers(x):
    y, pullback = ri.worked_example(float(x))
    assert y == 9 * x**2 + 30 * x + 25
    assert pullback(1.0)[0] == 18 * x + 30


def test_the_chain_rule_multiplies_outer_by_inner():
    y = slope(ri.chain_rule(ri.exponential, ri.power), x_values)
    assert np.allclose(y, np.exp(x_values**2) * 2 * x_values, rtol=1e-14, atol=0)


def test_a_longer_chain_is_a_product_of_all_local_derivatives():
    f = ri.extended_chain_rule(ri.power, ri.exponential, ri.line(2.0, 1.0))
    assert np.allclose(
        slope(f, x_values), 2 * np.exp(2 * x_values + 1) * np.exp(2 * x_values + 1) * 2, rtol=1e-14, atol=0
    )


def test_grouping_does_not_change_a_chain():
    left = ri.chain_rule(ri.chain_rule(ri.power, ri.exponential), ri.tanh)
    right = ri.chain_rule(ri.power, ri.chain_rule(ri.exponential, ri.tanh))
    assert np.array_equal(slope(left, x_values), slope(right, x_values))


def test_several_variables_sum_over_all_paths():
    f = ri.multivariable_chain_rule(ri.product, ri.tanh, ri.power)
    want = (1 - np.tanh(x_values) ** 2) * x_values**2 + np.tanh(x_values) * 2 * x_values
    assert np.allclose(slope(f, x_values), want, rtol=1e-13, atol=1e-15)


def test_a_variable_used_twice_receives_both_gradients():
    square = ri.multivariable_chain_rule(ri.product, ri.identity, ri.identity)
    assert np.array_equal(slope(square, x_values), 2 * x_values)


def test_the_derivative_of_a_sum_is_the_sum_of_derivatives():
    terms = [ri.tanh, ri.exponential, ri.power]
    assert np.allclose(
        slope(ri.derivative_of_a_sum(*terms), x_values), sum(slope(t, x_values) for t in terms), rtol=1e-15, atol=0
    )


def test_the_gradient_of_half_the_squared_distance_is_the_error():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([0.0, 2.0, 3.0])
    assert np.array_equal(ri.gradient(lambda x: ri.half_squared_error(x, y), x), x - y)


def test_the_jacobian_of_an_affine_map_is_its_matrix():
    W = np.arange(6.0).reshape(2, 3)
    J = ri.jacobian(lambda a: ri.affine_example(a, W, np.zeros(2)), np.ones(3))
    assert np.array_equal(J, ri.jacobian_of_affine(W))


@pytest.mark.parametrize("sigma", list(ri.ACTIVATIONS))
def test_the_jacobian_of_an_activation_is_diagonal(sigma):
    assert np.array_equal(ri.jacobian(ri.activation(sigma), x_values), ri.jacobian_of_elementwise(sigma, x_values))


def test_the_jacobian_of_a_composition_is_the_product():
    W = np.arange(6.0).reshape(2, 3) / 6
    layer = ri.chain_rule(ri.tanh, lambda a: ri.affine_example(a, W, np.ones(2)))
    a = np.array([0.1, -0.2, 0.3])
    J = ri.jacobian_of_composition(ri.jacobian_of_elementwise("tanh", W @ a + 1), ri.jacobian_of_affine(W))
    assert np.allclose(ri.jacobian(layer, a), J, rtol=1e-14, atol=0)


def test_the_gradient_goes_back_through_the_transposed_jacobian():
    W, delta = np.arange(6.0).reshape(2, 3), np.array([2.0, -1.0])
    _, pullback = ri.affine_example(np.ones(3), W, np.zeros(2))
    assert np.array_equal(ri.pull_back(W, delta), pullback(delta)[0])


def test_the_jacobian_of_softmax_is_diag_p_minus_p_p():
    z = np.array([0.3, -1.0, 2.0])
    p, _ = ri.softmax(z)
    assert np.allclose(ri.jacobian(ri.softmax, z), np.diag(p) - np.outer(p, p), rtol=1e-13, atol=1e-16)
