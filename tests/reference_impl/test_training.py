"""Training works, on a real data set, in seconds."""

import time
from itertools import pairwise

import numpy as np
import pytest

import reference_impl as ri

datasets = pytest.importorskip("sklearn.datasets", reason="the digits come with scikit-learn")


@pytest.fixture(scope="module")
def digits():
    data = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    X, y = data.data[order] / 16, data.target[order]
    return X[:1347], y[:1347], X[1347:], y[1347:]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_digits_are_read_above_95_percent_in_seconds(digits, seed):
    X, y, X_test, y_test = digits
    started = time.perf_counter()
    model = ri.fit_classifier(X, y, seed=seed)
    assert time.perf_counter() - started < 20
    assert model.accuracy(X_test, y_test) > 0.95


def test_the_loss_falls(digits):
    losses = ri.fit_classifier(*digits[:2], epochs=5).losses
    assert all(later < earlier for earlier, later in pairwise(losses))


def test_training_is_reproducible(digits):
    X, y, *_ = digits
    one, two = (ri.fit_classifier(X[:100], y[:100], epochs=2, seed=4) for _ in range(2))
    assert all(np.array_equal(p, q) for p, q in zip(one.parameters, two.parameters, strict=True))


def test_training_keeps_float32(digits):
    X, y, X_test, y_test = digits
    model = ri.fit_classifier(X.astype(np.float32), y, epochs=10)
    assert {p.dtype for p in model.parameters} == {np.dtype("float32")}
    assert model.accuracy(X_test.astype(np.float32), y_test) > 0.95


def test_clipped_gradients_still_train(digits):
    X, y, X_test, y_test = digits
    assert ri.fit_classifier(X, y, epochs=15, max_norm=1.0).accuracy(X_test, y_test) > 0.95
