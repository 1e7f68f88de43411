"""The judge: three answers, each with its reason; NaN fails, 0 means 0, and size does not matter."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradverify.judge import judge
from gradverify.types import Estimate, Finding, Measurement, Verdict

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
arrays = hnp.arrays(float, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), elements=numbers)
positive = st.floats(1e-12, 1e3)
RANK = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.FAIL: 2}


def measured(got, want, error=0.0, **more):
    return Measurement(of="g", got=np.asarray(got), want=Estimate(value=np.asarray(want), error=error), **more)


def verdict(*args, tolerance=None, **more):
    return judge(measured(*args, **more), tolerance).verdict


@given(arrays)
def test_a_gradient_that_equals_the_truth_passes(want):
    assert verdict(want, want) is Verdict.PASS


@given(arrays, st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_one_entry_that_is_not_finite_fails_whatever_is_allowed(want, bad, data):
    got = want.copy()
    at = data.draw(st.integers(0, got.size - 1))
    got.flat[at] = bad
    said = judge(measured(got, want, 1e-3, rounding=1e12))
    assert said.verdict is Verdict.FAIL
    assert np.ravel_multi_index(said.index, got.shape) == at if got.ndim else said.index == ()
    assert "not finite" in said.why


@given(arrays, positive)
def test_nan_is_right_only_where_the_oracle_too_says_that_there_is_no_derivative(want, error):
    nowhere = np.full(want.shape, np.nan)
    assert verdict(nowhere, nowhere, error, ask=math.inf) is Verdict.PASS
    assert verdict(want, nowhere, error) is Verdict.FAIL


@given(arrays, st.floats(1e-15, 1e-3), st.data())
def test_a_tolerance_of_zero_is_zero(want, off, data):
    got = want.copy()
    at = data.draw(st.integers(0, got.size - 1))
    got.flat[at] += max(off * abs(got.flat[at]), off)
    assert verdict(want, want, tolerance=0.0) is Verdict.PASS
    assert verdict(got, want, tolerance=0.0, rounding=1e9) is Verdict.FAIL


@given(numbers.filter(bool), st.floats(1e-12, 1e-2), st.integers(1, 2000))
def test_what_is_allowed_does_not_grow_with_the_number_of_entries(want, off, n):
    """One wrong entry among any number of right ones is as wrong as it is alone."""
    got = np.full(n, want)
    got[n // 2] += off * abs(want)
    allowed = {"rounding": 0.5 * off * abs(want)}
    alone = verdict(got[n // 2 : n // 2 + 1], np.full(1, want), **allowed)
    assert verdict(got, np.full(n, want), **allowed) is alone is Verdict.FAIL


@given(arrays, positive, positive, st.tuples(positive, positive))
def test_a_larger_gap_is_never_judged_better(want, error, rounding, gaps):
    near, far = (verdict(want + gap, want, error, rounding=rounding, ask=math.inf) for gap in sorted(gaps))
    assert RANK[near] <= RANK[far]


@given(arrays, positive, st.tuples(positive, positive), positive)
def test_a_larger_error_of_the_oracle_never_makes_a_fail_of_a_pass(want, gap, errors, rounding):
    small, large = (verdict(want + gap, want, e, rounding=rounding, ask=math.inf) for e in sorted(errors))
    assert RANK[large] <= RANK[small]


#: the largest entry is far enough from underflow that scaling it by 1e-30 is still scaling
scalable = arrays.filter(lambda a: np.max(np.abs(a), initial=0.0) > 1e-200)


@given(scalable, st.sampled_from([1e-30, 1e-8, 1.0, 1e8]), st.floats(1e-9, 10))
def test_a_scaled_gradient_is_judged_like_the_gradient(want, factor, off):
    """Of both signs of ``off``: right within the budget or not, at every scale alike."""
    size = float(np.max(np.abs(want)))
    got = want + off * size
    plain, scaled = (verdict(f * got, f * want, 1e-12 * f * size, rounding=1e-6 * f * size) for f in (1.0, factor))
    if abs(off - 1e-6) > 1e-9:  # at the very border rounding decides
        assert plain is scaled


@pytest.mark.parametrize("factor", [1e-300, 1e-15, 1e-8, 1.0, 1e8])
def test_a_wrong_sign_fails_at_every_scale(factor):
    want = factor * np.array([1.0, -2.0, 0.5])
    assert verdict(-want, want, 1e-10 * factor, rounding=1e-12 * factor) is Verdict.FAIL


@given(arrays)
def test_another_shape_fails_with_both_shapes_named(want):
    said = judge(measured(want[None], want))
    assert said.verdict is Verdict.FAIL
    assert str(want[None].shape) in said.why
    assert str(want.shape) in said.why


def test_an_empty_gradient_is_skipped_and_not_passed():
    said = judge(measured(np.zeros((0, 3)), np.zeros((0, 3))))
    assert said.verdict is Verdict.SKIPPED
    assert "nothing to compare" in said.why


def test_a_zero_gradient_is_zero_to_within_what_would_have_been_seen():
    said = judge(measured(np.zeros(3), np.zeros(3), 1e-12, rounding=2e-12))
    assert said.verdict is Verdict.PASS
    assert said.resolution == pytest.approx(3e-12)


def test_a_zero_gradient_that_is_not_zero_fails():
    assert verdict(np.array([0.0, 1e-11]), np.zeros(2), 1e-12, rounding=2e-12) is Verdict.FAIL


@given(arrays.filter(np.any), st.floats(1e-13, 1e-5), st.floats(1e-13, 1e-5))
def test_a_pass_states_the_smallest_relative_error_it_would_have_seen(want, error, rounding):
    size = float(np.max(np.abs(want)))
    m = measured(want, want, error * size, rounding=rounding * size)
    said = judge(m)
    assert said.verdict is Verdict.PASS
    assert said.resolution == pytest.approx(error + rounding)
    at = np.unravel_index(np.argmax(np.abs(want)), want.shape)
    wrong = want.copy()
    wrong[at] += 1.01 * said.resolution * size
    assert judge(measured(wrong, want, error * size, rounding=rounding * size)).verdict is Verdict.FAIL


def test_what_the_oracle_does_not_know_is_inconclusive_and_counted():
    said = judge(measured(np.ones(4), np.ones(4), np.array([0.0, np.nan, np.nan, 0.0])))
    assert said.verdict is Verdict.INCONCLUSIVE
    assert "2 of 4" in said.why
    assert said.n_compared == 2


def test_a_known_wrong_entry_fails_although_others_are_not_known():
    assert verdict(np.array([1.0, 2.0]), np.array([1.5, 2.0]), np.array([0.1, np.nan])) is Verdict.FAIL


def test_an_oracle_that_knows_less_well_than_was_asked_is_inconclusive():
    said = judge(measured(np.ones(2), np.ones(2), 1e-3, ask=1e-4))
    assert said.verdict is Verdict.INCONCLUSIVE
    assert "exceeds what was asked for" in said.why
    assert verdict(np.ones(2), np.ones(2), 1e-5, ask=1e-4) is Verdict.PASS


def test_a_gradient_far_outside_fails_however_little_the_oracle_knows():
    assert verdict(np.full(2, 3.0), np.ones(2), 0.5, ask=1e-4) is Verdict.FAIL


def test_rounding_as_large_as_the_gradient_is_inconclusive_where_its_terms_are_not_larger_still():
    said = judge(measured(np.full(2, 1e-3), np.full(2, 1e-3), 1e-9, rounding=5e-4, natural=1.0))
    assert said.verdict is Verdict.INCONCLUSIVE
    assert "own rounding" in said.why
    assert verdict(np.full(2, 1e-9), np.full(2, 1e-9), 0.0, rounding=5e-10, natural=1.0) is Verdict.PASS


slopes = st.tuples(st.floats(-10, 10), st.floats(0.01, 10))


@given(slopes, st.floats(0, 1))
def test_inside_the_one_sided_derivatives_is_a_pass(kink, share):
    low, width = kink
    got = np.array([low + share * width])
    m = measured(
        got, got * 0 + low + width / 2, 0.0, lower=np.array([low]), upper=np.array([low + width]), rounding=1e-12
    )
    assert judge(m).verdict is Verdict.PASS


@given(slopes, st.floats(0.01, 3), st.booleans())
def test_outside_the_one_sided_derivatives_is_a_fail_that_names_them(kink, off, above):
    low, width = kink
    got = np.array([low + width + off if above else low - off])
    said = judge(measured(got, np.array([low + width / 2]), lower=np.array([low]), upper=np.array([low + width])))
    assert said.verdict is Verdict.FAIL
    assert "one-sided derivatives" in said.why
    assert said.gap == pytest.approx(off)


def test_an_interval_of_one_point_is_a_derivative_like_any_other():
    one = np.array([1.0])
    assert verdict(np.array([1.1]), one, 1e-9, lower=one, upper=one) is Verdict.FAIL


def test_the_worst_entry_is_the_one_farthest_outside():
    got = np.array([[1.0, 2.0], [3.5, 4.9]])
    said = judge(measured(got, np.array([[1.0, 2.0], [3.0, 4.0]]), 1e-9))
    assert (said.index, said.got, said.want) == ((1, 1), 4.9, 4.0)
    assert said.n_wrong == 2
    assert "2 of 4 entries" in said.why


@pytest.mark.parametrize("tolerance", [1e-6, 1e-3])
def test_a_tolerance_is_relative_to_the_largest_entry(tolerance):
    want = np.array([100.0, 1e-6])
    second = np.array([0, tolerance])
    inside, outside = want + 50 * second, want + 200 * second
    assert verdict(inside, want, tolerance=tolerance) is Verdict.PASS
    assert verdict(outside, want, tolerance=tolerance) is Verdict.FAIL


def test_complex_gradients_are_compared_in_the_complex_plane():
    want = np.array([1 + 1j])
    assert verdict(want, want, 1e-12) is Verdict.PASS
    assert verdict(want.conj(), want, 1e-12) is Verdict.FAIL


def test_a_pass_that_compared_nothing_cannot_be_built():
    with pytest.raises(ValueError, match="a pass that compared nothing"):
        Finding(adapter="a", case="c", check="k", of="g", verdict=Verdict.PASS)


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.PASS])
def test_nothing_but_a_pass_goes_without_a_reason(verdict):
    with pytest.raises(ValueError, match="without a reason"):
        Finding(adapter="a", case="c", check="k", of="g", verdict=verdict, n_compared=1)


@settings(max_examples=60)
@given(arrays, arrays, positive, positive, st.none() | st.just(0.0) | positive)
def test_whatever_is_judged_makes_a_finding(got, want, error, rounding, tolerance):
    said = judge(measured(got, want, error, rounding=rounding), tolerance)
    Finding(adapter="a", case="c", check="k", of="g", **vars(said))
    assert said.verdict is Verdict.PASS or said.why
