"""Points beside the given one: generic, of the same shapes and signs, inside the domain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradverify.points import beside, cannot_tell, finite
from gradverify.types import Case

RNG = np.random.default_rng(3)
GENERIC = RNG.standard_normal((4, 3))
SYMMETRIC = np.array([[1.0, 2.0, 3.0], [2.0, -4.0, 5.0], [3.0, 5.0, 6.0]])


def case(x, upstream=None):
    return Case(name="c", primals={"x": x}, upstream=upstream)


def moved(x, seed=0, upstream=None):
    return beside(case(x, upstream), np.random.default_rng(seed), "c~1")


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((2, 3)), "x is all zeros"),
        (np.full(3, 2.5), "all entries of x are equal"),
        (SYMMETRIC, "x is symmetric"),
        (np.tile(GENERIC[:1], (4, 1)), "all rows of x are equal"),
        (np.tile(GENERIC[:, :1], (1, 3)), "all columns of x are equal"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_point_that_cannot_tell_says_why(x, said):
    assert cannot_tell(case(x)) == [said]
    assert cannot_tell(moved(x)) == []


@pytest.mark.parametrize(
    "x", [GENERIC, np.full(1, 2.5), np.array(3.0), np.zeros((2, 3), int)], ids=["generic", "one", "0-d", "int"]
)
def test_a_point_that_can_tell_gives_no_reason(x):
    assert cannot_tell(case(x)) == []


@pytest.mark.parametrize(("value", "said"), [(1.0, "x is 1"), (0.0, "x is 0"), (-1.0, "x is -1")])
def test_one_number_that_hides_a_factor_says_so(value, said):
    assert cannot_tell(case(np.array(value))) == [said]
    assert cannot_tell(moved(np.array(value))) == []


def test_a_covariance_names_what_the_points_beside_it_cannot_show():
    a = RNG.standard_normal((4, 4))
    [said] = cannot_tell(case(a @ a.T + np.eye(4)))
    assert "x taken for its transpose is not seen" in said


def test_an_upstream_of_ones_is_a_reason_and_is_drawn_again():
    ones = np.ones((4, 3))
    assert cannot_tell(case(GENERIC, ones)) == ["all entries of the upstream are equal"]
    assert moved(GENERIC, upstream=ones).upstream is None


def test_an_upstream_that_can_tell_is_kept():
    u = RNG.standard_normal((4, 3))
    assert moved(np.zeros((4, 3)), upstream=u).upstream is u


@given(hnp.arrays(float, (3, 4), elements=st.floats(0.0625, 1e3)), st.integers(0, 99))
def test_a_positive_point_stays_positive_and_of_its_size(x, seed):
    new = moved(x, seed).primals["x"]
    assert np.all(new > 0)
    assert np.all(new <= 1.4 * np.max(x) + 1e-12)


@given(hnp.arrays(float, 5, elements=st.floats(0, 4)), st.integers(0, 99))
def test_where_nothing_is_negative_nothing_becomes_negative(x, seed):
    if np.any(x):
        assert np.all(moved(x, seed).primals["x"] >= 0)


@given(hnp.arrays(float, (2, 5), elements=st.sampled_from([-2.0, -1.0, 1.0, 3.0])), st.integers(0, 99))
def test_signs_are_kept(x, seed):
    assert np.array_equal(np.sign(moved(x, seed).primals["x"]), np.sign(x))


@given(st.integers(0, 99))
def test_rows_of_probabilities_stay_probabilities(seed):
    new = moved(np.full((3, 4), 0.25), seed).primals["x"]
    assert np.allclose(new.sum(axis=1), 1.0)
    assert np.all(new > 0)


def test_a_covariance_stays_symmetric_and_positive_definite():
    a = RNG.standard_normal((4, 4))
    new = moved(a @ a.T + np.eye(4)).primals["x"]
    assert np.array_equal(new, new.T)
    assert np.all(np.linalg.eigvalsh(new) > 0)


def test_a_covariance_that_is_symmetric_to_within_rounding_stays_positive_definite():
    q = np.linalg.qr(RNG.standard_normal((4, 4)))[0]
    a = q @ np.diag([0.01, 1.0, 2.0, 3.0]) @ q.T
    new = moved(a).primals["x"]
    assert not np.array_equal(a, a.T)
    assert np.all(np.linalg.eigvalsh((new + new.T) / 2) > 0)


def test_the_identity_becomes_a_matrix_that_is_not_symmetric():
    new = moved(np.eye(4)).primals["x"]
    assert not np.array_equal(new, new.T)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_shape_and_dtype_are_kept(dtype):
    new = moved(np.ones((2, 3), dtype)).primals["x"]
    assert (new.shape, new.dtype) == ((2, 3), np.dtype(dtype))


def test_integers_are_not_moved():
    x = np.zeros(3, int)
    assert np.array_equal(moved(x).primals["x"], x)


def test_what_is_not_finite_is_not_moved():
    x = np.array([np.inf, 1.0])
    assert np.array_equal(moved(x).primals["x"], x)


def test_the_given_case_is_left_as_it_was():
    given = case(np.zeros(3))
    beside(given, np.random.default_rng(0), "c~1")
    assert not np.any(given.primals["x"])


@pytest.mark.parametrize(("value", "inside"), [(1.0, True), (np.nan, False), (np.inf, False)])
def test_a_point_where_the_output_is_not_finite_is_outside(value, inside):
    assert finite({"": np.array([1.0, value])}) is inside
