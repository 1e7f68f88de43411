"""The two-layer network of the text, the general algorithm, and that they agree."""

import numpy as np
import pytest

import reference_impl as ri

RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 2))
W1, b1, W2, b2 = (
    RNG.standard_normal((4, 3)),
    RNG.standard_normal(4),
    RNG.standard_normal((2, 4)),
    RNG.standard_normal(2),
)
PARAMETERS = (W1, b1, W2, b2)
every_sigma = pytest.mark.parametrize("sigma", ["sigmoid", "tanh", "relu", "leaky_relu", "gelu"])


@every_sigma
def test_one_example_follows_the_text_line_by_line(sigma):
    x, y = X[0], Y[0]
    net = ri.two_layer_example(x, y, *PARAMETERS, sigma=sigma)
    prime = {k: ri.derivative(sigma, getattr(net, k)) for k in ("z1", "z2")}
    want = {
        "z1": W1 @ x + b1,
        "z2": W2 @ net.a1 + b2,
        "L": 0.5 * sum((net.a2[i] - y[i]) ** 2 for i in range(2)),
        "dL_da2": net.a2 - y,
        "delta2": (net.a2 - y) * prime["z2"],
        "dW2": np.array([[net.delta2[i] * net.a1[j] for j in range(4)] for i in range(2)]),
        "db2": net.delta2,
        "dL_da1": W2.T @ net.delta2,
        "delta1": (W2.T @ net.delta2) * prime["z1"],
        "dW1": np.array([[net.delta1[i] * x[j] for j in range(3)] for i in range(4)]),
        "db1": net.delta1,
    }
    for name, value in want.items():
        assert np.allclose(getattr(net, name), value, rtol=1e-14, atol=1e-16), name


@every_sigma
def test_a_batch_stacks_the_examples_and_averages_their_gradients(sigma):
    batch = ri.two_layer_batch(X, Y, *PARAMETERS, sigma=sigma)
    examples = [ri.two_layer_example(x, y, *PARAMETERS, sigma=sigma) for x, y in zip(X, Y, strict=True)]
    for name in ("z1", "a1", "z2", "a2", "dL_da2", "delta2", "dL_da1", "delta1"):
        rows = np.array([getattr(e, name) for e in examples])
        assert np.allclose(getattr(batch, name), rows, rtol=1e-13, atol=1e-16), name
    for name in ("L", "dW1", "db1", "dW2", "db2"):
        mean = np.mean([getattr(e, name) for e in examples], axis=0)
        assert np.allclose(getattr(batch, name), mean, rtol=1e-13, atol=1e-16), name


@every_sigma
def test_the_general_algorithm_gives_the_same_bits_on_two_layers(sigma):
    two = ri.two_layer_batch(X, Y, *PARAMETERS, sigma=sigma)
    net = ri.backpropagation(X, Y, *PARAMETERS, activations=sigma)
    pairs = {
        "z1": net.z[1], "a1": net.a[1], "z2": net.z[2], "a2": net.a[2], "L": net.loss, "delta2": net.delta[2],
        "delta1": net.delta[1], "dW2": net.dW[2], "db2": net.db[2], "dW1": net.dW[1], "db1": net.db[1],
    }  # fmt: skip
    for name, value in pairs.items():
        assert np.array_equal(getattr(two, name), value), name


def test_the_two_ops_give_the_same_bits_on_two_layers():
    L, pullback = ri.two_layer(X, Y, *PARAMETERS)
    value, general = ri.network(X, Y, *PARAMETERS)
    assert value == L
    for one, other in zip(pullback(0.7), general(0.7), strict=True):
        assert np.array_equal(one, other)


def test_the_recursion_of_the_deltas_holds_at_every_depth():
    sizes = (3, 5, 4, 6, 2)
    parameters = ri.initial_parameters(sizes, np.random.default_rng(0), method="xavier")
    net = ri.backpropagation(X, Y, *parameters, activations="tanh")
    for layer in range(2, 5):
        W, slope = parameters[2 * layer - 2], 1 - np.tanh(net.z[layer - 1]) ** 2
        assert np.allclose(net.delta[layer - 1], (net.delta[layer] @ W) * slope, rtol=1e-13, atol=1e-17)
        assert np.allclose(net.dW[layer], net.delta[layer].T @ net.a[layer - 1] / 6, rtol=1e-14, atol=0)
        assert np.allclose(net.db[layer], net.delta[layer].mean(axis=0), rtol=1e-14, atol=0)


def test_the_last_delta_of_a_classifier_is_p_minus_y():
    y = np.array([0, 1, 1, 0, 1, 0])
    net = ri.backpropagation(X, y, *PARAMETERS, activations=("tanh", "identity"), loss="softmax_cross_entropy")
    assert np.allclose(net.delta[2], ri.softmax(net.z[2])[0] - np.eye(2)[y], rtol=0, atol=1e-15)
    assert net.dy is None


def test_the_sum_is_the_mean_times_the_batch():
    mean, total = (ri.backpropagation(X, Y, *PARAMETERS, reduction=r) for r in ("mean", "sum"))
    assert np.allclose(total.dW[1], 6 * mean.dW[1], rtol=1e-14, atol=0)
    assert np.array_equal(total.delta[1], mean.delta[1])


def test_a_duplicated_batch_has_the_same_mean_gradients():
    once = ri.backpropagation(X, Y, *PARAMETERS)
    twice = ri.backpropagation(np.vstack([X, X]), np.vstack([Y, Y]), *PARAMETERS)
    assert np.allclose(once.dW[1], twice.dW[1], rtol=1e-13, atol=0)


def test_the_prediction_is_the_last_activation():
    assert np.array_equal(ri.predict(X, *PARAMETERS), ri.backpropagation(X, Y, *PARAMETERS).a[2])


def test_one_layer_is_a_network_too():
    net = ri.backpropagation(X, Y, W1[:2], b1[:2], activations="identity")
    assert np.allclose(net.dW[1], (X @ W1[:2].T + b1[:2] - Y).T @ X / 6, rtol=1e-13, atol=0)
