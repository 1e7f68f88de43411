"""The remedies that the text names for vanishing and exploding gradients, and checkpointing."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference_impl as ri


def rng():
    return np.random.default_rng(11)


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(("draw", "variance"), [(ri.xavier, 2 / (300 + 500)), (ri.he, 2 / 500)])
def test_initial_weights_have_the_stated_variance(draw, variance, distribution):
    W = draw(300, 500, rng(), distribution=distribution)
    assert W.shape == (300, 500)
    # standard errors: below 0.4 % of the variance, and of the mean sqrt(variance / 150000)
    assert np.isclose(W.var(), variance, rtol=0.02, atol=0)
    assert abs(W.mean()) < 5 * np.sqrt(variance / W.size)


def test_uniform_weights_stay_inside_their_bound():
    assert np.abs(ri.he(50, 30, rng(), distribution="uniform")).max() <= np.sqrt(6 / 30)


def test_he_initialisation_keeps_relu_gradients_in_scale_where_small_weights_lose_them():
    sizes, X, Y = (64,) * 21, rng().standard_normal((32, 64)), rng().standard_normal((32, 64))
    parameters = ri.initial_parameters(sizes, rng(), method="he")
    small = [0.3 * p for p in parameters]
    ratio = []
    for theta in (parameters, small):
        net = ri.backpropagation(X, Y, *theta, activations="relu")
        ratio.append(ri.gradient_norm(net.delta[1]) / ri.gradient_norm(net.delta[20]))
    healthy, vanishing = ratio
    assert 0.05 < healthy < 20
    assert vanishing < 1e-8  # about 0.3^19


def test_initial_biases_are_zero_and_shapes_chain():
    parameters = ri.initial_parameters((3, 5, 2), rng())
    assert [p.shape for p in parameters] == [(5, 3), (5,), (2, 5), (2,)]
    assert not parameters[1].any()


def test_batch_norm_gives_every_feature_mean_beta_and_deviation_gamma():
    out, _ = ri.batch_norm(rng().standard_normal((50, 3)) * 7 + 4, [1.0, 2.0, 3.0], [0.0, -1.0, 5.0], eps=1e-12)
    assert np.allclose(out.mean(axis=0), [0, -1, 5], atol=1e-12)
    assert np.allclose(out.std(axis=0), [1, 2, 3], rtol=1e-9, atol=0)


@pytest.mark.parametrize("norm", [ri.batch_norm, ri.layer_norm])
def test_normalisation_lets_no_gradient_through_along_the_mean(norm):
    X, axis = rng().standard_normal((6, 4)), 0 if norm is ri.batch_norm else 1
    _, pullback = norm(X, np.ones(4), np.zeros(4))
    assert np.allclose(pullback(rng().standard_normal((6, 4)))[0].sum(axis=axis), 0, atol=1e-14)


@pytest.mark.parametrize("norm", [ri.batch_norm, ri.layer_norm])
def test_equal_entries_are_no_trouble_for_normalisation(norm):
    out, pullback = norm(np.full((3, 4), 2.0), np.ones(4), np.full(4, 0.5))
    assert np.array_equal(out, np.full((3, 4), 0.5))
    assert np.isfinite(pullback(np.ones((3, 4)))[0]).all()


def test_batch_norm_in_evaluation_with_the_batch_statistics_is_batch_norm_in_training():
    X, gamma, beta = rng().standard_normal((6, 4)), rng().standard_normal(4), rng().standard_normal(4)
    trained, _ = ri.batch_norm(X, gamma, beta)
    evaluated, _ = ri.batch_norm_eval(X, gamma, beta, mean=X.mean(axis=0), var=X.var(axis=0))
    assert np.allclose(trained, evaluated, rtol=1e-13, atol=1e-15)


def test_running_statistics_move_towards_the_batch_as_in_torch():
    import torch

    X = rng().standard_normal((6, 4))
    layer = torch.nn.BatchNorm1d(4, momentum=0.3, dtype=torch.float64)
    layer(torch.tensor(X))
    mean, var = ri.batch_statistics(X, np.zeros(4), np.ones(4), momentum=0.3)
    assert np.allclose(mean, layer.running_mean, rtol=1e-14, atol=0)
    assert np.allclose(var, layer.running_var, rtol=1e-14, atol=0)


def test_a_residual_connection_carries_the_gradient_past_a_dead_branch():
    block = ri.residual(lambda x: ri.relu(x))
    _, pullback = block(np.array([-1.0, 2.0]))
    assert np.array_equal(pullback(np.array([5.0, 7.0]))[0], [5.0, 14.0])


@given(limit=st.floats(0.01, 100))
def test_clipping_by_value_bounds_every_entry(limit):
    out, _ = ri.clip_by_value(rng().standard_normal(20) * 10, limit=limit)
    assert np.abs(out).max() <= limit


@given(max_norm=st.floats(0.01, 100))
def test_clipping_by_norm_keeps_the_direction_and_bounds_the_length(max_norm):
    G = rng().standard_normal((4, 5))
    out, _ = ri.clip_by_norm(G, max_norm=max_norm)
    assert np.isclose(np.linalg.norm(out), min(max_norm, np.linalg.norm(G)), rtol=1e-14, atol=0)
    assert np.allclose(out / np.linalg.norm(out), G / np.linalg.norm(G), rtol=1e-13, atol=0)


def test_clipping_by_the_global_norm_scales_all_arrays_by_one_factor():
    import torch

    G = [rng().standard_normal((4, 5)), rng().standard_normal(3)]
    tensors = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in G]
    for t, g in zip(tensors, G, strict=True):
        t.grad = torch.tensor(g)
    norm = torch.nn.utils.clip_grad_norm_(tensors, 0.5)
    clipped, before = ri.clip_global_norm(G, 0.5)
    assert np.isclose(before, norm.item(), rtol=1e-14, atol=0)
    assert all(
        np.allclose(c, t.grad, rtol=1e-5, atol=0) for c, t in zip(clipped, tensors, strict=True)
    )  # torch adds 1e-6


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_the_gradient_norm_neither_overflows_nor_underflows(scale):
    assert np.isclose(ri.gradient_norm(np.array([3.0, 4.0]) * scale), 5 * scale, rtol=1e-14, atol=0)


def test_dropout_keeps_the_expected_value():
    mask = ri.dropout_mask((1000, 100), 0.3, rng())
    out, _ = ri.dropout(np.ones(mask.shape), mask=mask, rate=0.3)
    assert np.isclose(out.mean(), 1, atol=5 * np.sqrt(0.3 / 0.7 / mask.size))


DEEP = ri.initial_parameters((8,) * 17, np.random.default_rng(1), method="xavier")
BATCH = np.random.default_rng(2).standard_normal((5, 8))


@pytest.mark.parametrize("every", [1, 3, 4, 16, 100])
@pytest.mark.parametrize("sigma", ["tanh", "gelu"])
def test_checkpointing_gives_identical_bits(every, sigma):
    plain, back = ri.deep_network(BATCH, *DEEP, activations=sigma)
    out, checkpointed = ri.deep_network(BATCH, *DEEP, activations=sigma, every=every)
    upstream = rng().standard_normal(out.shape)
    assert np.array_equal(plain, out)
    for one, other in zip(back(upstream), checkpointed(upstream), strict=True):
        assert np.array_equal(one, other)


def test_checkpointing_stores_fewer_activations_for_one_more_forward():
    books = {}
    for every in (None, 4):
        books[every] = book = ri.Ledger()
        out, pullback = ri.deep_network(BATCH, *DEEP, every=every, ledger=book)
        pullback(np.ones_like(out))
    plain, checkpointed = books[None], books[4]
    assert plain.peak_arrays == 1 + 2 * 16  # the input, and z and a of every layer
    assert checkpointed.peak_arrays == 16 // 4 + 2 * 4  # the inputs of the segments, and one segment
    assert checkpointed.peak_numbers * 33 == plain.peak_numbers * 12
    assert (plain.layers_computed, checkpointed.layers_computed) == (16, 32)


def test_a_second_pullback_holds_no_more_than_the_first():
    book = ri.Ledger()
    out, pullback = ri.deep_network(BATCH, *DEEP, every=4, ledger=book)
    held = book.arrays
    pullback(np.ones_like(out))
    peak = book.peak_arrays
    pullback(np.ones_like(out))
    assert (book.arrays, book.peak_arrays) == (held, peak)


def test_checkpointing_saves_real_memory():
    parameters = ri.initial_parameters((4,) * 65, rng(), method="xavier")
    X = rng().standard_normal((20000, 4))
    peaks = []
    for every in (None, 8):
        tracemalloc.start()
        out, pullback = ri.deep_network(X, *parameters, every=every)
        pullback(np.ones_like(out))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        del out, pullback
    assert peaks[1] < peaks[0] / 3
