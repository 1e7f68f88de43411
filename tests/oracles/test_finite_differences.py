"""Finite differences keep what they claim: the error covers the truth, an edge is one-sided, a jump is not known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradverify.oracles.finite_differences import FiniteDifferences
from tests.oracles.support import forward, slope, verify

SMOOTH = {
    "exp": (np.exp, np.exp),
    "sin": (np.sin, np.cos),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "cubic": (lambda x: x**3 - 2 * x, lambda x: 3 * x * x - 2),
}


@pytest.mark.parametrize("name", SMOOTH)
@given(x=st.floats(1e-6, 3) | st.floats(-3, -1e-6) | st.just(0.0))
@settings(max_examples=12, deadline=None)
def test_the_claimed_error_covers_the_true_one_and_is_small(name, x):
    f, df = SMOOTH[name]
    found = slope(f, x)
    assert abs(found["value"] - df(x)) <= found["error"]
    assert found["error"] <= 1e-7 * max(1.0, abs(f(x)) / max(abs(x), 1e-3))


@pytest.mark.parametrize("factor", [1e-8, 1.0, 1e8])
def test_a_scaled_function_is_known_as_well_as_the_function(factor):
    found = slope(lambda x: factor * np.sin(x), 0.7)
    assert abs(found["value"] - factor * np.cos(0.7)) <= found["error"] <= 1e-10 * factor


def test_a_shifted_function_is_known_to_the_rounding_of_its_value():
    found = slope(lambda x: 1e6 + np.sin(x), 0.7)
    assert abs(found["value"] - np.cos(0.7)) <= found["error"] <= 1e-5


def test_a_constant_has_no_slope():
    found = slope(lambda x: 5.0 + 0 * x, 1.3)
    assert found["value"] == 0
    assert found["error"] < 5e-13  # the rounding of 5.0 over steps that are never lengthened beyond 1


def test_noise_of_the_function_is_in_the_claim():
    noisy = slope(lambda x: np.exp(x) + 1e-9 * np.sin(1e14 * x), 0.3)
    assert abs(noisy["value"] - np.exp(0.3)) <= noisy["error"]
    assert 1e-9 < noisy["error"] < 1e-3


@pytest.mark.parametrize("x", [0.0, 0.4, -1.5])
def test_a_jump_at_the_point_is_not_known(x):
    found = slope(lambda t: np.sin(t) + (t > x), x)
    assert not np.isfinite(found["error"])
    assert not found["kink"]


@pytest.mark.parametrize(
    ("f", "x", "truth"),
    [
        (np.log, 1e-6, 1e6),
        (np.sqrt, 1e-8, 0.5e4),
        (np.arccos, 1 - 1e-7, -1 / np.sqrt(1e-7 * (2 - 1e-7))),
        (lambda x: 1 / x, 1e-4, -1e8),
    ],
    ids=["log", "sqrt", "arccos", "division"],
)
def test_beside_the_edge_of_a_domain_the_ladder_goes_down_until_it_fits(f, x, truth):
    found = slope(f, x)
    assert abs(found["value"] - truth) <= found["error"] <= 1e-4 * abs(truth)


@pytest.mark.parametrize(
    ("f", "x", "truth"),
    [
        (lambda x: np.where(x < 0, np.nan, 3 * x + x * x), 0.0, 3.0),
        (lambda x: x**2.5, 0.0, 0.0),
        (lambda x: np.where(x > 2, np.nan, np.exp(x)), 2.0, np.exp(2.0)),
    ],
    ids=["from the right", "a power at 0", "from the left"],
)
def test_at_the_edge_of_a_domain_the_derivative_is_one_sided(f, x, truth):
    found = slope(f, x)
    assert found["one_sided"]
    assert abs(found["value"] - truth) <= found["error"] <= 1e-6


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.01, "fail")])
def test_a_gradient_at_the_edge_of_a_domain_is_judged(factor, verdict):
    report = verify(
        lambda x: np.where(x < 0, np.nan, 3 * x + x * x), lambda u, x: factor * u * (3 + 2 * x), np.array([0.0, 0.7]),
        oracles=["finite-differences"],
    )  # fmt: skip
    assert report.verdict == verdict


def test_where_nothing_is_finite_nothing_is_known():
    found = slope(lambda x: np.where(x == 1.0, x, np.nan), 1.0)
    assert not np.isfinite(found["error"])


def test_an_infinite_value_beside_the_point_is_not_known_rather_than_wrong():
    found = slope(lambda x: np.where(x > 1.0, np.inf, x), 1.0)
    assert not np.isfinite(found["error"]) or abs(found["value"] - 1.0) <= found["error"]


def test_a_forward_that_raises_beside_the_point_does_not_stop_the_ladder():
    def f(x):
        if x[0] > 2.5:
            raise ValueError("outside")
        return x**2

    found = slope(f, 2.4)
    assert abs(found["value"] - 4.8) <= found["error"] <= 1e-8


def test_every_entry_of_every_primal_is_asked():
    def f(a, b):
        return np.sin(a) @ b

    a, b = np.array([[0.3, -1.0], [2.0, 0.1]]), np.array([1.5, -0.5])
    found = FiniteDifferences().gradient(forward(f, a=a, b=b), accept={"a": 1e-10, "b": 1e-10})
    for name, truth in (("a", np.cos(a) * b), ("b", np.sin(a).sum(axis=0))):
        assert np.all(np.abs(found[name].estimate.value - truth) <= found[name].estimate.error)
        assert np.all(found[name].estimate.error < 1e-8)


def test_an_empty_primal_is_answered_by_an_empty_gradient():
    found = FiniteDifferences().gradient(
        forward(lambda a, b: np.sum(a) + b, a=np.zeros((0, 3)), b=np.ones(1)), accept={"a": 0.0, "b": 0.0}
    )
    assert found["a"].estimate.value.shape == (0, 3)


def test_a_direction_over_all_primals_is_the_sum_of_its_parts():
    a, b = np.array([0.3, -1.0, 2.0]), np.array([0.5, 0.25, -2.0])
    v = {"a": np.array([0.3, 1.0, -2.0]), "b": np.array([-0.5, 0.25, 2.0])}
    found = FiniteDifferences().along(forward(lambda a, b: np.sin(a) * b, a=a, b=b), v, accept=0.0)
    truth = float(np.sum(np.cos(a) * b * v["a"] + np.sin(a) * v["b"]))
    assert abs(found.value[0] - truth) <= found.error[0] <= 1e-8


def test_a_complex_output_is_judged_by_the_real_part_of_its_product_with_the_upstream():
    u = np.array([1.0 + 2.0j])
    found = FiniteDifferences().entries(
        forward(lambda x: np.exp(1j * x), upstream=u, x=np.array([0.4])), "x", np.arange(1), accept=1e-9
    )
    truth = float(np.real(u[0] * 1j * np.exp(0.4j)))
    assert abs(found.value[0] - truth) <= found.error[0] <= 1e-7


def test_a_forward_that_writes_into_its_argument_does_not_reach_the_users_array():
    def f(x):
        out = np.exp(x)
        x *= 0.0
        return out

    x = np.array([1.0, 0.5])
    verify(f, lambda u, x: u * np.exp(x), x, oracles=["finite-differences"])
    assert x.tolist() == [1.0, 0.5]


def test_samples_that_are_rounded_to_one_number_are_no_zero_slope():
    """The loss of a sure softmax is below one rounding of its logits: every sample is the same."""

    def loss(z):
        e = np.exp(z - z.max())
        return -np.log(e[0] / e.sum())

    z = np.array([0.0, -31.0, -33.0])
    p = np.exp(z) / np.exp(z).sum()
    got = p - np.array([1.0, 0.0, 0.0])
    found = FiniteDifferences().against(forward(loss, z=z), "z", np.arange(3), got, accept=0.02 * np.abs(got))
    assert np.all(np.abs(found.value - got) <= found.error)
