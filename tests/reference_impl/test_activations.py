"""The properties of activations that the text states, as invariants."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_impl as ri

any_z = st.floats(-1e4, 1e4)
every_activation = pytest.mark.parametrize("name", list(ri.ACTIVATIONS))


@given(z=any_z)
def test_the_slope_of_sigmoid_is_at_most_a_quarter(z):
    assert 0 <= ri.derivative("sigmoid", z) <= 0.25


def test_the_slope_of_sigmoid_is_a_quarter_at_zero_and_less_nearby():
    assert ri.derivative("sigmoid", 0.0) == 0.25
    assert ri.sigmoid(0.0)[0] == 0.5
    assert (ri.derivative("sigmoid", [-1e-3, 1e-3]) < 0.25).all()


@given(z=any_z)
def test_the_slope_of_tanh_is_at_most_one(z):
    assert 0 <= ri.derivative("tanh", z) <= 1


def test_the_slope_of_tanh_is_one_at_zero():
    assert ri.derivative("tanh", 0.0) == 1.0


@given(z=st.floats(-15, 15))
def test_the_slope_of_sigmoid_follows_from_its_output(z):
    a = ri.sigmoid(z)[0]
    assert np.isclose(ri.derivative("sigmoid", z), a * (1 - a), rtol=1e-9, atol=0)


@given(z=st.floats(-8, 8))
def test_the_slope_of_tanh_follows_from_its_output(z):
    assert np.isclose(ri.derivative("tanh", z), 1 - ri.tanh(z)[0] ** 2, rtol=1e-8, atol=0)


@given(z=any_z)
def test_sigmoid_and_its_mirror_sum_to_one(z):
    assert np.isclose(ri.sigmoid(z)[0] + ri.sigmoid(-z)[0], 1, rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_saturation_the_slope_vanishes_for_large_z(name):
    slopes = ri.derivative(name, [0.0, 1.0, 5.0, 30.0, 1e4])
    assert (np.diff(slopes) < 0).all()
    assert slopes[-1] == 0
    assert np.array_equal(slopes, ri.derivative(name, [0.0, -1.0, -5.0, -30.0, -1e4]))


@pytest.mark.parametrize(("name", "z"), [("sigmoid", 40.0), ("tanh", 20.0)])
def test_the_slope_is_accurate_where_one_minus_the_output_is_zero(name, z):
    want = math.exp(-z) if name == "sigmoid" else 4 * math.exp(-2 * z)
    assert np.isclose(ri.derivative(name, z), want, rtol=1e-14, atol=0)


@given(z=st.floats(1e-300, 1e4), u=st.floats(-1e3, 1e3))
def test_relu_passes_gradients_through_unchanged_right_of_zero(z, u):
    a, pullback = ri.relu(z)
    assert a == z
    assert pullback(u)[0] == u


@given(z=st.floats(-1e4, -1e-300))
def test_relu_stops_gradients_left_of_zero(z):
    a, pullback = ri.relu(z)
    assert a == 0
    assert pullback(3.0)[0] == 0


@pytest.mark.parametrize("choice", [0.0, 0.5, 1.0])
def test_the_slope_of_relu_at_zero_is_a_choice(choice):
    _, pullback = ri.relu([-1.0, 0.0, 1.0], at_zero=choice)
    assert np.array_equal(pullback(np.ones(3))[0], [0.0, choice, 1.0])


@given(z=any_z)
def test_the_slope_of_leaky_relu_is_never_zero(z):
    _, pullback = ri.leaky_relu(z, alpha=0.1)
    assert pullback(1.0)[0] == (1.0 if z > 0 else 0.1)


@every_activation
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_activations_are_finite_and_silent_at_large_z(name, dtype):
    z = np.array([-1e4, -1e3, -100, -30, 30, 100, 1e3, 1e4], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        a, slope = ri.activation(name)(z)[0], ri.derivative(name, z)
    assert np.isfinite(a).all()
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", ["relu", "gelu", "gelu_tanh", "silu", "elu", "softplus", "mish", "identity"])
def test_unbounded_activations_become_the_identity_on_the_right(name):
    z = np.array([1e3, 1e4])
    assert np.array_equal(ri.activation(name)(z)[0], z)
    assert np.array_equal(ri.derivative(name, z), [1.0, 1.0])


@pytest.mark.parametrize("z", [-30.0, -10.0, -6.0])
def test_the_left_tail_of_gelu_keeps_its_digits(z):
    # torch's 1 + erf has none left here: the value is z erfc(-z / sqrt 2) / 2
    assert np.isclose(ri.gelu(z)[0], z * math.erfc(-z / math.sqrt(2)) / 2, rtol=1e-14, atol=0)


@given(z=st.floats(-30, 30))
def test_the_slope_of_softplus_is_the_sigmoid(z):
    assert ri.derivative("softplus", z) == ri.sigmoid(z)[0]
