"""Bad input raises ValueError naming the argument, its shape and what was expected."""

import numpy as np
import pytest

import reference_impl as ri

X, W, b = np.ones((4, 3)), np.ones((5, 3)), np.ones(5)
IMAGE = np.ones((1, 2, 4, 4))
BAD = {
    "weights that do not fit": (
        lambda: ri.affine(X, np.ones((3, 5)), b),
        "W: shape (3, 5), expected (..., n_out, 3) to fit A of shape (4, 3)",
    ),
    "bias that does not fit": (
        lambda: ri.affine(X, W, np.ones(3)),
        "b: shape (3,), expected (..., 5) to fit W of shape (5, 3)",
    ),
    "one example where rows are needed": (
        lambda: ri.affine(np.ones(3), W, b),
        "A: shape (3,), expected (..., B, n_in), samples in rows",
    ),
    "stacks that clash": (
        lambda: ri.affine(np.ones((2, 4, 3)), np.ones((7, 5, 3)), b),
        "W: shape (7, 5, 3), expected leading axes that broadcast with (2,), those of the arguments before",
    ),
    "complex numbers": (
        lambda: ri.relu(np.ones(2, complex)),
        "z: shape (2,), dtype complex128, expected real numbers",
    ),
    "objects": (lambda: ri.tanh(np.array([None])), "z: shape (1,), dtype object, expected real numbers"),
    "ragged list": (lambda: ri.tanh([[1.0], [1.0, 2.0]]), "z: not an array ("),
    "label too large": (
        lambda: ri.softmax_cross_entropy(X, [0, 1, 3, 2]),
        "y: shape (4,), holds 3, expected integers in [0, 3)",
    ),
    "negative label": (
        lambda: ri.softmax_cross_entropy(X, [0, -1, 1, 2]),
        "y: shape (4,), holds -1, expected integers in [0, 3)",
    ),
    "labels that are not integers": (
        lambda: ri.softmax_cross_entropy(X, [0.0, 1.0, 1.0, 2.0]),
        "y: shape (4,), dtype float64, expected integers in [0, 3)",
    ),
    "too few labels": (
        lambda: ri.softmax_cross_entropy(X, [0, 1]),
        "y: shape (2,), expected (4,) integers in [0, 3) or (4, 3) one-hot rows to fit z of shape (4, 3)",
    ),
    "rows that are no distributions": (
        lambda: ri.softmax_cross_entropy(X, X),
        "y: shape (4, 3), expected rows that are >= 0 and sum to 1",
    ),
    "probability above one": (
        lambda: ri.bce_with_logits(X, 2 * X),
        "y: shape (4, 3), holds labels outside [0, 1], expected probabilities",
    ),
    "targets of another shape": (
        lambda: ri.mse(X, np.ones((4, 2))),
        "Y: shape (4, 2), expected (4, 3), the shape of A (leading stacks aside)",
    ),
    "targets that would broadcast": (
        lambda: ri.half_squared_error(X, np.ones((4, 1))),
        "Y: shape (4, 1), expected (4, 3), the shape of A (leading stacks aside)",
    ),
    "empty batch in a loss": (
        lambda: ri.half_squared_error(np.ones((0, 2)), np.ones((0, 2))),
        "an empty batch has no mean: losses of shape (0,), expected B >= 1",
    ),
    "empty batch in a network": (
        lambda: ri.network(np.ones((0, 3)), np.ones((0, 5)), W, b),
        "an empty batch has no mean: losses of shape (0,), expected B >= 1",
    ),
    "empty batch in batch norm": (
        lambda: ri.batch_norm(np.ones((0, 2)), np.ones(2), np.ones(2)),
        "X: shape (0, 2), expected (..., B, n) with B >= 1: an empty batch has no mean",
    ),
    "softmax of nothing": (
        lambda: ri.softmax(np.ones((2, 0))),
        "z: shape (2, 0), expected at least one class along axis -1",
    ),
    "unknown activation": (
        lambda: ri.two_layer(X, X, W, b, W.T, np.ones(3), sigma="sigmiod"),
        "activation: 'sigmiod', expected one of elu, gelu, gelu_tanh, identity, leaky_relu, mish, relu, sigmoid, silu, "
        "softplus, tanh; did you mean 'sigmoid'?",
    ),
    "unknown loss": (
        lambda: ri.network(X, X, W, b, loss="half_squared_eror"),
        "loss: 'half_squared_eror', expected one of half_squared_error, softmax_cross_entropy; "
        "did you mean 'half_squared_error'?",
    ),
    "unknown reduction": (
        lambda: ri.mse(X, X, reduction="average"),
        "reduction: 'average', expected one of mean, none, sum",
    ),
    "layer that does not fit": (
        lambda: ri.network(X, X, W, b, W, b),
        "layer 2: W: shape (5, 3), expected (..., n_out, 5) to fit A of shape (4, 5)",
    ),
    "odd number of parameters": (
        lambda: ri.network(X, X, W, b, W),
        "parameters: 3 arrays, expected W1, b1, ..., W_L, b_L with L >= 1",
    ),
    "activations for another depth": (
        lambda: ri.network(X, X, W, b, activations=("relu", "relu")),
        "activations: 2 names, expected one or 1, one per layer",
    ),
    "batch where one example is needed": (
        lambda: ri.two_layer_example(X, X, W, b, W.T, np.ones(3)),
        "x: shape (4, 3), expected (n0,), one example; two_layer_batch takes a batch",
    ),
    "kernel larger than the image": (
        lambda: ri.conv2d(IMAGE, np.ones((1, 2, 5, 3)), np.ones(1)),
        "W: shape (1, 2, 5, 3), expected a kernel of 1 .. 4 x 1 .. 4, the padded image",
    ),
    "channels that do not fit": (
        lambda: ri.conv2d(IMAGE, np.ones((1, 3, 2, 2)), np.ones(1)),
        "W: shape (1, 3, 2, 2), expected (..., O, 2, KH, KW) to fit X of shape (1, 2, 4, 4)",
    ),
    "stride of zero": (
        lambda: ri.conv2d(IMAGE, np.ones((1, 2, 2, 2)), np.ones(1), stride=0),
        "stride: 0, expected one or two integers >= 1",
    ),
    "window larger than the image": (
        lambda: ri.max_pool2d(IMAGE, size=5),
        "X: shape (1, 2, 4, 4), expected (..., H, W) with H >= 5 and W >= 5, the size of the window",
    ),
    "row that is not in the table": (
        lambda: ri.embedding(X, [0, 4]),
        "indices: shape (2,), holds 4, expected integers in [0, 4)",
    ),
    "no time step": (
        lambda: ri.rnn(np.ones((0, 2, 3)), np.ones((2, 5)), W, np.ones((5, 5)), b),
        "X: shape (0, 2, 3), expected (..., T, B, n_in) with at least one step T",
    ),
    "recurrent weights that do not fit": (
        lambda: ri.rnn(np.ones((4, 2, 3)), np.ones((2, 5)), W, np.ones((5, 4)), b),
        "Wh: shape (5, 4), expected (..., 5, 5) to fit X (4, 2, 3) and h0 (2, 5)",
    ),
    "query with nothing to look at": (
        lambda: ri.attention(X, X, X, mask=np.zeros((4, 4), bool)),
        "mask: shape (4, 4), a query may look at no key, expected at least one True per row",
    ),
    "mask of numbers": (
        lambda: ri.attention(X, X, X, mask=np.zeros((4, 4))),
        "mask: dtype float64, expected booleans, True where a query may look",
    ),
    "keys that do not fit": (
        lambda: ri.attention(X, np.ones((2, 4)), X),
        "K: shape (2, 4), expected (..., k, 3) with k >= 1 to fit Q of shape (4, 3)",
    ),
    "mask of another shape": (
        lambda: ri.dropout(X, mask=np.ones((4, 2))),
        "mask: shape (4, 2), expected (4, 3), the shape of X",
    ),
    "everything dropped": (
        lambda: ri.dropout(X, mask=np.ones((4, 3)), rate=1.0),
        "rate: 1.0, expected a number in [0, 1)",
    ),
    "negative variance": (
        lambda: ri.batch_norm_eval(X, np.ones(3), np.ones(3), mean=np.ones(3), var=-np.ones(3)),
        "var: shape (3,), holds -1.0, expected no negative variance",
    ),
    "limit of zero": (lambda: ri.clip_by_value(X, limit=0.0), "limit: 0.0, expected a positive number"),
    "axis counted from the front": (
        lambda: ri.softmax(X, axis=0),
        "axis: 0, expected one of -2 .. -1, counted from the end",
    ),
    "gradient of a vector": (
        lambda: ri.gradient(ri.tanh, np.ones(2)),
        "f(x): shape (2,), expected (), a scalar: a gradient is the derivative of one number",
    ),
    "branch of another shape": (
        lambda: ri.residual(lambda x: ri.affine(x, W, b))(X),
        "branch(x): shape (4, 5), expected (4, 3), the shape of x, to be added to it",
    ),
    "argument that an op does not have": (
        lambda: ri.OPS["relu"].vjp({"x": X}),
        "argument of relu: 'x', expected one of at_zero, z",
    ),
    "argument that is missing": (
        lambda: ri.OPS["affine"].vjp({"A": X}),
        "affine: W, b not given, expected A, W, b",
    ),
    "nothing to fit": (
        lambda: ri.fit_classifier(np.ones((0, 3)), []),
        "X: shape (0, 3), expected (N, n_0) with N >= 1",
    ),
    "sizes of no network": (
        lambda: ri.initial_parameters((3,), np.random.default_rng(0)),
        "sizes: (3,), expected n_0, n_1, ..., n_L, at least two, each >= 1",
    ),
    "checkpoints every no layer": (
        lambda: ri.deep_network(X, W, b, every=0),
        "every: 0, expected None or a number of layers >= 1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_message_names_the_argument_its_shape_and_what_was_expected(name):
    call, message = BAD[name]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below, whole)
        call()
    assert str(caught.value).startswith(message)
    assert str(caught.value) == message or message.endswith("(")
