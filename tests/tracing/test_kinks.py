"""Ties and kinks: found, named, and the convention chosen; counterfactual backprop at a node."""

from __future__ import annotations

import numpy as np
import pytest

from gradverify.errors import UsageError
from gradverify.tracing import Escaped, trace


def grad(f, x, **options):
    x = np.asarray(x, dtype=float)
    result = trace(lambda p, c: f(p["x"]), {"x": x}, {}, **options)
    return result.vjp(np.ones(result.out.shape))["x"]


CONVENTIONS = {
    "maximum(0, x)": (lambda x: np.maximum(0, x), [0.0], {
        "first": [0], "second": [1], "split": [0.5], "zero": [0], "all": [1]}),
    "maximum(x, 0)": (lambda x: np.maximum(x, 0), [0.0], {
        "first": [1], "second": [0], "split": [0.5], "zero": [0], "all": [1]}),
    "minimum": (lambda x: np.minimum(x, 1), [1.0], {
        "first": [1], "second": [0], "split": [0.5], "zero": [0], "all": [1]}),
    "abs": (np.abs, [0.0], {"first": [1], "second": [-1], "split": [0], "zero": [0], "all": [0]}),
    "max": (np.max, [1, 2, 2, 2], {
        "first": [0, 1, 0, 0], "second": [0, 0, 0, 1], "split": [0, 1 / 3, 1 / 3, 1 / 3], "zero": [0] * 4,
        "all": [0, 1, 1, 1]}),
    "min over an axis": (lambda x: x.min(axis=1), [[1, 1], [0, 3]], {
        "first": [[1, 0], [1, 0]], "second": [[0, 1], [1, 0]], "split": [[0.5, 0.5], [1, 0]],
        "zero": [[0, 0], [1, 0]], "all": [[1, 1], [1, 0]]}),
    "clip": (lambda x: np.clip(x, 0, 1), [0.0, 0.5, 1.0, 2.0], {
        "first": [1, 1, 1, 0], "second": [0, 1, 0, 0], "split": [0.5, 1, 0.5, 0], "zero": [0, 1, 0, 0],
        "all": [1, 1, 1, 0]}),
}  # fmt: skip


@pytest.mark.parametrize("ties", ["first", "second", "split", "zero", "all"])
@pytest.mark.parametrize("name", CONVENTIONS)
def test_the_convention_at_a_tie_is_the_callers(name, ties):
    f, x, want = CONVENTIONS[name]
    assert np.allclose(grad(f, x, ties=ties), want[ties])


KINKS = {
    "maximum: 2 ties": lambda x: np.maximum(0, x),
    "abs at 0: 2 entries": np.abs,
    "x > y compared at 0: 2 entries": lambda x: x * (x > 0) + x,
    "sqrt at 0: 2 entries": lambda x: np.sqrt(x**2 + x),
    "max over axis: 2 entries tied": lambda x: np.max(-x),
    "sign: 2 on a step": lambda x: np.sign(x) + x,
    "sort: 1 ties": np.sort,
    "clip at its lower bound: 2 ties": lambda x: np.clip(x, 0, 5),
    "argmax: 2 entries tied": lambda x: x[np.argmax(-x)] * x,
}


@pytest.mark.parametrize("label", KINKS)
def test_a_kink_is_named(label):
    kinks = trace(lambda p, c: KINKS[label](p["x"]), {"x": np.array([0.0, 1.0, 0.0, 3.0])}, {}).kinks
    assert label in kinks or label.split(":")[0] in " ".join(kinks)


SMOOTH = {
    "a maximum of padded zeros": lambda x: np.maximum(0, np.pad(x, 2)),
    "the entries of the maximum": lambda x: x * (x == x.max()),
    "not below the maximum": lambda x: x * (x >= x.max()),
    "a constant tie": lambda x: x * np.abs(np.zeros(3)),
    "x minus itself": lambda x: x + np.abs(x - x),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_a_tie_that_no_primal_can_move_is_no_kink(name):
    assert trace(lambda p, c: SMOOTH[name](p["x"]), {"x": np.array([1.0, 2.0, 3.0])}, {}).kinks == ()


def bent(f, x, node, kind):
    plain = trace(lambda p, c: f(p["x"]), {"x": x}, {})
    k = plain.nodes.index(node)
    other = trace(lambda p, c: f(p["x"]), {"x": x}, {}, bend=(k, kind))
    assert np.array_equal(other.out, plain.out)
    return other.vjp(np.ones(other.out.shape))["x"]


Z = np.array([-0.7, 0.3, 1.1])


def test_bending_a_node_replaces_its_local_derivative_only():
    f = lambda x: 3 * np.tanh(2 * x)  # noqa: E731
    slope = 1 - np.tanh(2 * Z) ** 2
    assert np.allclose(bent(f, Z, "tanh #0", "identity"), 6)
    assert np.allclose(bent(f, Z, "tanh #0", "zero"), 0)
    assert np.allclose(bent(f, Z, "tanh #0", "negated"), -6 * slope)
    assert np.allclose(bent(f, Z, "tanh #0", "at-output"), 6 * (1 - np.tanh(np.tanh(2 * Z)) ** 2))


def test_the_second_of_two_equal_activations_is_bent_alone():
    f = lambda x: np.tanh(np.tanh(x))  # noqa: E731
    assert np.allclose(bent(f, Z, "tanh #1", "identity"), 1 - np.tanh(Z) ** 2)


@pytest.mark.parametrize("relu", [
    lambda x: np.maximum(0, x), lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, x, 0), lambda x: x * (x > 0),
])  # fmt: skip
def test_a_relu_however_written_has_a_node(relu):
    nodes = trace(lambda p, c: relu(p["x"]), {"x": Z}, {}).nodes
    assert len(nodes) == 1
    assert np.allclose(bent(relu, Z, nodes[0], "identity"), 1)


def test_a_sigmoid_written_out_is_one_node():
    s = 1 / (1 + np.exp(-Z))
    f = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    assert np.allclose(bent(f, Z, "sigmoid #0", "identity"), 1)
    assert np.allclose(bent(f, Z, "sigmoid #0", "at-output"), 1 / (1 + np.exp(-s)) * (1 - 1 / (1 + np.exp(-s))))
    assert np.allclose(grad(f, Z), s * (1 - s))


def test_a_softmax_written_out_is_one_node():
    def f(x):
        e = np.exp(x - np.max(x))
        return e / np.sum(e) * np.array([1.0, 2.0, 4.0])

    assert np.allclose(bent(f, Z, "softmax #0", "identity"), [1, 2, 4])


def test_a_denominator_can_be_treated_as_a_constant():
    f = lambda x: x / np.sqrt(np.sum(x**2))  # noqa: E731
    assert np.allclose(bent(f, Z, "denominator #0", "zero"), 1 / np.sqrt(np.sum(Z**2)))


def test_a_kind_without_meaning_is_refused():
    with pytest.raises(Escaped, match="at-output"):
        bent(lambda x: x - np.mean(x), Z, "mean #0", "at-output")
    with pytest.raises(UsageError, match="identity, zero, at-output, negated"):
        trace(lambda p, c: p["x"], {"x": Z}, {}, bend=(0, "sideways"))
    with pytest.raises(UsageError, match="has 1 nodes"):
        trace(lambda p, c: np.exp(p["x"]), {"x": Z}, {}, bend=(1, "zero"))
