"""Bugs planted in single ops, where shape, masks, indices and the upstream tell what happened."""

import numpy as np
import pytest

from tests.causes.scene import B, D, H, first, named, scene

RNG = np.random.default_rng(11)
X, W, BIAS = RNG.standard_normal((B, D)), RNG.standard_normal((H, D)), RNG.standard_normal(H)
U = RNG.standard_normal((B, H))
UP = RNG.standard_normal((B, D))
SQUARE = RNG.standard_normal((D, D))


def affine_want(x=X, w=W, u=U):
    return {"x": u @ w, "W": u.T @ x, "b": u.sum(axis=0)}


def affine(gradients, of, **more):
    """The affine layer with ``gradients(x, W, u)`` as its backward."""
    primals = {"x": X, "W": W, "b": BIAS}
    return scene(
        primals,
        lambda p, u: {**affine_want(p["x"], p["W"], u), **gradients(p["x"], p["W"], u)},
        affine_want(),
        of=of,
        out=X @ W.T + BIAS,
        upstream=U,
        **more,
    )


def elementwise(slope, right, x=X, out=None, **more):
    """An op with one primal; ``slope(x, u)`` is the code under test, ``right(x, u)`` the truth."""
    u = np.abs(RNG.standard_normal(x.shape)) * np.where(np.arange(x.size) % 3, 1.0, -1.0).reshape(x.shape)
    return scene(
        {"x": x},
        lambda p, v: {"x": slope(p["x"], v)},
        {"x": right(x, u)},
        of="x",
        out=x if out is None else out,
        upstream=u,
        **more,
    )


def a_up(other):
    return UP * other


def relu_right(x, u):
    return u * (x > 0)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_right(x, u):
    s = softmax(x)
    return s * (u - np.sum(u * s, axis=1, keepdims=True))


def embedding(how):
    index = np.array([2, 0, 2, 4, 2])
    table, u = RNG.standard_normal((6, D)), RNG.standard_normal((B, D))

    def right(u):
        g = np.zeros((6, D))
        np.add.at(g, index, u)
        return g

    def gradients(p, v):
        g = np.zeros((6, D))
        g[index] = v
        return {"table": g}

    return scene(
        {"table": table},
        gradients if how == "=" else lambda p, v: {"table": right(v)},
        {"table": right(u)},
        of="table",
        out=table[index],
        upstream=u,
        constants={"index": index},
    )


def dropped(x, w, u):
    """A loop over all samples but the last."""
    return {"W": u[:-1].T @ x[:-1]}


def with_zero_row(g):
    g = g.copy()
    g[-1] = 0
    return g


def updated(x, w, u):
    return {"x": u @ (w - 0.1 * (u.T @ x))}


def centred(x, u):
    return u - u.mean(axis=0)


def swapped():
    a, b = RNG.standard_normal((2, B, D))
    return scene(
        {"a": a, "b": b},
        lambda p, u: {"a": u * a, "b": u * b},
        {"a": a_up(b), "b": a_up(a)},
        of="a",
        out=a * b,
        upstream=UP,
    )


def shifted():
    layers = RNG.standard_normal((5, D, D))
    return scene(
        {f"W{i}": layers[i] + 1 for i in range(4)},
        lambda p, u: {f"W{i}": u * layers[i + 1] for i in range(4)},
        {f"W{i}": SQUARE * layers[i] for i in range(4)},
        of="W2",
        out=SQUARE,
        upstream=SQUARE,
    )


KINK = np.where(np.abs(X) < 0.6, 0.0, X)

PLANTED = {
    "transposed": lambda: scene(
        {"W": SQUARE},
        lambda p, u: {"W": (u.T @ SQUARE).T},
        {"W": SQUARE.T @ SQUARE @ SQUARE},
        of="W",
        out=SQUARE,
        upstream=SQUARE.T @ SQUARE,
    ),
    "transposed in shape": lambda: affine(lambda x, w, u: {"W": x.T @ u}, "W", check="shape"),
    "permuted by swapping": swapped,
    "unreduced-broadcast": lambda: affine(lambda x, w, u: {"b": u}, "b", check="shape"),
    "unreduced-broadcast of an axis of one": lambda: scene(
        {"b": BIAS[:, None]},
        lambda p, u: {"b": u.sum(axis=0)},
        {"b": U.sum(axis=0)[:, None]},
        of="b",
        out=U,
        upstream=U,
        check="shape",
    ),
    "wrong-axis": lambda: affine(lambda x, w, u: {"b": u.sum(axis=1)}, "b", check="shape"),
    "wrong-axis in a square": lambda: scene(
        {"b": SQUARE[0]},
        lambda p, u: {"b": u.sum(axis=1)},
        {"b": SQUARE.sum(axis=0)},
        of="b",
        out=SQUARE,
        upstream=SQUARE,
    ),
    "double-batch-mean in the bias": lambda: affine(lambda x, w, u: {"b": u.mean(axis=0)}, "b"),
    "dropped-samples": lambda: affine(dropped, "W"),
    "dropped-samples in the input": lambda: affine(lambda x, w, u: {"x": with_zero_row(u @ w)}, "x"),
    "updated-weights": lambda: affine(updated, "x"),
    "upstream-ignored": lambda: affine(lambda x, w, u: {"W": np.ones_like(u).T @ x}, "W"),
    "upstream-ignored elementwise": lambda: elementwise(
        lambda x, u: 1 - np.tanh(x) ** 2, lambda x, u: u * (1 - np.tanh(x) ** 2)
    ),
    "wrong-mask of the upstream": lambda: elementwise(lambda x, u: u * (u > 0), relu_right),
    "wrong-mask inverted": lambda: elementwise(lambda x, u: u * (x < 0), relu_right),
    "missing-activation-derivative": lambda: elementwise(lambda x, u: u, lambda x, u: u * (1 - np.tanh(x) ** 2)),
    "softmax-elementwise": lambda: elementwise(
        lambda x, u: u * softmax(x) * (1 - softmax(x)), softmax_right, out=softmax(X)
    ),
    "cross-entropy-twice": lambda: elementwise(
        lambda x, u: softmax_right(x, softmax(x) - np.eye(B, D)),
        lambda x, u: softmax(x) - np.eye(B, D),
        out=np.float64(1),
    ),
    "missing-term: the mean of a normalisation": lambda: elementwise(lambda x, u: u, centred, out=X.sum(axis=1)),
    "repeated-indices": lambda: embedding("="),
    "kink-convention": lambda: elementwise(lambda x, u: u * (x > 0) + 2 * u * (x == 0), relu_right, x=KINK),
    "nan-at-edge": lambda: elementwise(lambda x, u: np.where(x == 0, np.nan, u), lambda x, u: u * 1.0, x=KINK),
    "overflow": lambda: elementwise(
        lambda x, u: np.where(x < -700, np.nan, u * x), lambda x, u: u * x, x=np.array([-800.0, 1.0, -2.0, 3.0])
    ),
    "nondeterministic": lambda: elementwise(lambda x, u: u * (1 + 0.1 * RNG.random(u.shape)), lambda x, u: u * 1.0),
    "off-by-one-layer": shifted,
}

RIGHT = {
    "affine": lambda: affine(lambda x, w, u: {}, "W"),
    "relu at its kink": lambda: elementwise(relu_right, relu_right, x=KINK),
    "softmax": lambda: elementwise(softmax_right, softmax_right, out=softmax(X)),
    "embedding": lambda: embedding("+="),
    "zero gradient": lambda: elementwise(lambda x, u: 0 * u, lambda x, u: 0 * u),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_the_first_cause_is_the_bug_that_was_planted(bug):
    name = bug.split()[0].rstrip(":")
    causes = named(*PLANTED[bug]())
    assert causes[:1] == [name], causes


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_gradient_has_no_cause(name):
    assert named(*RIGHT[name]()) == []


def test_a_dropped_sample_names_the_sample():
    assert "samples 4 of 5" in first(*PLANTED["dropped-samples in the input"]()).evidence


def test_a_bias_mean_is_seen_beside_exact_weights():
    assert "exact in x, W" in first(*PLANTED["double-batch-mean in the bias"]()).evidence


def test_repeated_indices_name_the_row_and_how_often():
    assert "row 2: 3 times" in first(*PLANTED["repeated-indices"]()).evidence


def test_the_step_size_of_updated_weights_is_found():
    assert "a step of 0.1 along the gradient of W" in first(*PLANTED["updated-weights"]()).evidence
