"""Directions through many primals: random in every entry, weighted alike, the same however they are made."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradverify import directions
from gradverify.directions import BLOCK, Direction, scales_of, typical

RNG = np.random.default_rng(0)


def direction(base, gradients=None, seed=(0, 1)):
    gradients = {k: np.ones(v.shape) for k, v in base.items()} if gradients is None else gradients
    return Direction(base, gradients, seed, typical={k: typical(v) for k, v in base.items()})


def test_every_entry_moves_by_between_a_half_and_three_halves_of_its_size():
    x = RNG.standard_normal((30, 40)) + 3
    v = direction({"x": x})["x"]
    assert v.shape == x.shape
    assert np.all((np.abs(v / x) >= 0.5 - 1e-12) & (np.abs(v / x) <= 1.5 + 1e-12))
    assert 0.4 < np.mean(v > 0) < 0.6


def test_an_entry_that_is_nearly_zero_moves_by_the_typical_size():
    x = np.array([1.0, -1.0, 0.0, 1e-9])
    assert scales_of(x, typical(x)).tolist() == [1.0, 1.0, typical(x), typical(x)]


@pytest.mark.parametrize(("x", "size"), [([3.0, 4.0], 12.5**0.5), ([0.0, 0.0], 1.0), ([np.inf, 2.0], 2.0), ([], 1.0)])
def test_the_typical_size_is_the_root_mean_square_of_what_is_finite(x, size):
    assert typical(np.array(x)) == pytest.approx(size)


def test_the_typical_size_of_huge_numbers_does_not_overflow():
    assert typical(np.array([1e200, -1e200])) == pytest.approx(1e200)


@given(st.integers(0, 2**31), st.integers(1, 40))
def test_the_same_seed_makes_the_same_direction_and_another_another(seed, n):
    x = np.linspace(1, 2, n)
    assert np.array_equal(direction({"x": x}, seed=(seed,))["x"], direction({"x": x}, seed=(seed,))["x"])
    if n > 8:
        assert not np.array_equal(direction({"x": x}, seed=(seed,))["x"], direction({"x": x}, seed=(seed + 1,))["x"])


def test_a_primal_with_large_gradients_does_not_drown_one_with_small_gradients():
    base = {"a": np.ones(100), "b": np.ones(100)}
    gradients = {"a": np.full(100, 1e2), "b": np.full(100, 1.0)}
    v = direction(base, gradients)
    contribution = {k: np.sqrt(np.sum((gradients[k] * v[k]) ** 2)) for k in base}
    assert contribution["a"] == pytest.approx(contribution["b"], rel=0.2)


def test_a_long_direction_is_made_block_by_block_and_is_the_very_same(monkeypatch):
    x = RNG.standard_normal(2 * BLOCK + 17).astype(np.float32)
    kept = direction({"x": x})
    whole, (product, size) = kept["x"].copy(), kept.times({"x": x})
    monkeypatch.setattr(directions, "KEPT", 0)
    made = direction({"x": x})
    assert np.array_equal(np.concatenate([v for _, v in made.parts("x")]), whole)
    assert made.times({"x": x}) == pytest.approx((product, size), rel=1e-12)
    assert made.length("x") == pytest.approx(np.sum(np.abs(whole)))


def test_the_product_with_gradients_is_that_of_the_arrays():
    base = {"W": RNG.standard_normal((7, 5)), "b": RNG.standard_normal(5)}
    g = {k: RNG.standard_normal(v.shape) for k, v in base.items()}
    v = direction(base, g)
    parts = np.concatenate([(g[k] * v[k]).ravel() for k in base])
    assert v.times(g) == pytest.approx((parts.sum(), np.sqrt(np.sum(parts**2))))
    assert v.entries == 40


def test_two_entries_wrong_by_the_same_amount_do_not_cancel():
    base = {"b": np.zeros(2)}
    error = {"b": np.ones(2)}
    gone = [abs(direction(base, seed=(s,)).times(error)[0]) < 1e-3 for s in range(200)]
    assert sum(gone) < 5  # with signs alone it would be a hundred
