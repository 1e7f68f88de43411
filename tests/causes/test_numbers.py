"""What got and want alone say, where no forward can be recorded."""

import numpy as np
import pytest

from tests.causes.scene import first, named, scene

RNG = np.random.default_rng(23)
X, U = RNG.standard_normal((5, 4)), RNG.standard_normal((5, 4))
LABELS = np.array([0, 3, 1, 1, 2])
HOT = np.eye(4)[LABELS]
SMOOTH = 0.9 * HOT + 0.1 / 4
P = np.exp(X) / np.exp(X).sum(axis=1, keepdims=True)
MASK = (RNG.uniform(size=X.shape) > 0.4).astype(float)
OTHER = np.roll(MASK, 1)
CENTRED = X - X.mean(axis=0)
V = RNG.standard_normal(4)
WIDE = RNG.standard_normal((7, 6))
IMAGES = RNG.standard_normal((2, 4, 3, 3))


def one(primal, got, want, *, upstream=U, **more):
    """One primal whose gradient is ``got`` where ``want`` is right."""
    size = np.sum(upstream * upstream)

    def gradients(_, u):
        return {"x": got * (1.0 if u is upstream else np.sum(u * upstream) / size)}

    right = {"x": np.asarray(want, dtype=float)}
    return scene({"x": primal}, gradients, right, of="x", out=np.zeros_like(upstream), upstream=upstream, **more)


def turned(a, *where):
    new = np.array(a)
    for i in where:
        new[i] *= -1
    return new


@pytest.mark.parametrize(
    ("name", "says", "args", "more"),
    [
        ("sign", "1 wrong entries", (X, turned(U * X, (0, 1)), U * X), {}),
        ("extra-term", "one-hot(y)", (X, P / 5, (P - HOT) / 5), {"constants": {"y": LABELS}}),
        ("missing-term", "y - 1/4", (X, (P - HOT) / 5, (P - SMOOTH) / 5), {"constants": {"y": HOT}}),
        ("wrong-mask", "the mask is not applied", (X, 2 * X * U, 2 * X * U * MASK), {"constants": {"m": MASK}}),
        ("wrong-mask", "exactly 0", (X, 2 * X * U, 2 * X * U * MASK), {}),
        ("wrong-mask", "another mask", (X, X * U * OTHER, X * U * MASK), {}),
        ("extra-term", "the derivative by x is 0", (X, 0.1 * U, 0 * U), {}),
        ("extra-term", "0.25 * x", (np.array([2.0]), np.array([1.5]), np.array([1.0])), {"upstream": np.array(3.0)}),
        ("missing-term", "the block of the upstream", (X, WIDE[1:6, 1:5], WIDE[1:6, 1:5] + WIDE[2:, 2:]),
         {"upstream": WIDE}),
        ("permuted", "that of a repetition", (V, np.repeat(V, 2).reshape(2, 4).sum(axis=0) * 0
                                              + np.arange(8.0).reshape(4, 2).sum(axis=1),
                                              np.arange(8.0).reshape(2, 4).sum(axis=0)), {"upstream": np.arange(8.0)}),
        ("dropped-samples", "first of axis 2, first of axis 3", (V, IMAGES[:, :, 0, 0].sum(axis=0),
                                                                 IMAGES.sum(axis=(0, 2, 3))), {"upstream": IMAGES}),
        ("wrong-axis", "summed over axis 1", (V, WIDE[:4, :4].sum(axis=1), np.diag(WIDE[:4, :4]).copy()),
         {"upstream": WIDE[:4, :4].copy()}),
        ("repeated-indices", "overwritten", (X, U, U * np.array([1, 1, 0, 1, 1])[:, None]),
         {"constants": {"i": np.array([0, 3, 1, 1, 2])}, "upstream": WIDE}),
    ],
)  # fmt: skip
def test_the_difference_alone_names_the_bug(name, says, args, more):
    cause = first(*one(*args, **more))
    assert cause.name == name, cause
    assert says in cause.evidence


def test_the_formula_of_training_mode_in_evaluation():
    want = U * 1.5
    extra = want - want.mean(axis=0) - CENTRED * (want * CENTRED).mean(axis=0) / CENTRED.var(axis=0)
    assert first(*one(X, extra, want)).name == "extra-term"
    assert first(*one(X, want, extra)).name == "missing-term"


def test_a_hypothesis_that_explains_all_primals_outranks_one_that_explains_one():
    primals, want = {"a": X, "b": X + 1}, {"a": U, "b": 2 * U}
    wrong = {"a": U * X, "b": U * X + 1}

    def what_if():
        yield "transposed: the product at net.py:1", {"a": wrong["a"], "b": want["b"]}
        yield "missing-term: the way at net.py:2", wrong

    m, ev = scene(
        primals,
        lambda p, u: {k: g * np.sum(u * U) / np.sum(U * U) for k, g in wrong.items()},
        want,
        of="a",
        out=U,
        upstream=U,
        what_if=what_if,
    )
    assert named(m, ev)[0] == "missing-term"
    assert first(m, ev).evidence.startswith("the way at net.py:2: that gives the gradient of a")


def test_a_zero_gradient_is_detached_whatever_a_hypothesis_says():
    def what_if():
        yield "missing-term: the way at net.py:2", {"x": np.zeros_like(X)}

    assert first(*one(X, np.zeros_like(X), U, what_if=what_if)).name == "detached"


def test_a_plain_factor_is_said_before_a_hypothesis():
    def what_if():
        yield "missing-term: the way at net.py:2", {"x": 2 * U}

    assert named(*one(X, 2 * U, U, what_if=what_if))[0] == "scale"


def test_no_cause_is_named_for_numbers_without_a_pattern():
    got = U + RNG.standard_normal(U.shape) * X**2
    assert named(*one(X, got, U)) == []
