"""The nouns: what is frozen, what is copied, what is drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradverify.types import Case, Estimate, differentiable, frozen, inner, leaves, like, rng_for


def test_a_case_keeps_private_read_only_copies():
    x = np.ones(3)
    case = Case(name="c", primals={"x": x})
    x[0] = 7.0
    assert case.primals["x"].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        case.primals["x"][0] = 2.0


def test_thawed_arrays_are_private_writable_and_in_the_same_memory_order():
    case = Case(name="c", primals={"W": np.asfortranarray(np.ones((2, 3)))})
    first, second = case.thawed()["W"], case.thawed()["W"]
    first[:] = 5.0
    assert second[0, 0] == 1.0
    assert first.flags.f_contiguous


def test_at_replaces_some_primals_and_leaves_the_case_as_it_was():
    case = Case(name="c", primals={"x": np.ones(2), "y": np.zeros(2)})
    other = case.at({"x": np.full(2, 3.0)})
    assert other.primals["x"].tolist() == [3, 3]
    assert other.primals["y"].tolist() == [0, 0]
    assert case.primals["x"].tolist() == [1, 1]


def test_a_frozen_array_is_not_copied_again():
    once = frozen(np.ones(3))
    assert frozen(once) is once


def test_a_read_only_view_of_a_writable_array_is_copied():
    base = np.ones(3)
    view = base[:]
    view.flags.writeable = False
    kept = frozen(view)
    base[0] = 9.0
    assert kept[0] == 1.0


def test_an_error_of_one_number_holds_for_every_entry():
    assert Estimate(value=np.ones((2, 3)), error=0.5).error.shape == (2, 3)


def test_an_error_that_does_not_fit_its_value_is_refused():
    with pytest.raises(ValueError, match="broadcast"):
        Estimate(value=np.ones(3), error=np.ones(2))


@pytest.mark.parametrize("out", [np.arange(3.0), {"a": np.arange(2.0), "b": np.array(1.0)}], ids=["array", "dict"])
def test_leaves_and_like_are_inverse(out):
    back = like(out, leaves(out))
    assert type(back) is type(out)
    assert all(np.array_equal(leaves(back)[k], v) for k, v in leaves(out).items())


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5))
def test_inner_is_the_sum_of_products_over_all_leaves(values):
    v = np.array(values)
    assert inner({"a": v, "b": v}, {"a": v, "b": 2 * v}) == pytest.approx(3 * float(np.sum(v * v)))


def test_inner_of_float32_is_summed_in_float64():
    ones = np.full(4, 1 + 2.0**-20, np.float32)
    assert inner(ones, ones) == 4 * (1 + 2.0**-20) ** 2


@pytest.mark.parametrize(("dtype", "is_one"), [("f4", True), ("c16", True), ("i8", False), ("bool", False)])
def test_floating_point_arrays_are_differentiable_and_others_are_not(dtype, is_one):
    assert differentiable(np.zeros(2, dtype)) is is_one


def test_randomness_has_an_address_and_no_order():
    def first(*names):
        return rng_for(0, *names).random()

    assert first("a", "b") == first("a", "b")
    assert len({first("a"), first("b"), first("a", "b"), rng_for(1, "a").random()}) == 4
