"""Bugs planted in a two-layer network are named first; right gradients have no cause."""

import numpy as np
import pytest

from tests.causes.scene import PARAMETERS, B, X, backward, elementwise_softmax, first, named, network, twice


def of_one(name, change):
    """A bug in one gradient only."""
    return lambda g: {**g, name: change(g[name])}


def replaced(**keywords):
    """Another backward in place of the right one."""
    return lambda _: backward(PARAMETERS, np.ones(()), **keywords)


def at(index, value):
    def change(g):
        g = g.copy()
        g[index] = value
        return g

    return change


PLANTED = {
    "sign": (lambda g: {k: -v for k, v in g.items()}, "W1"),
    "scale": (lambda g: {k: 0.7312 * v for k, v in g.items()}, "W1"),
    "scale by two": (lambda g: {k: 2 * v for k, v in g.items()}, "b2"),
    "missing-batch-mean": (lambda g: {k: B * v for k, v in g.items()}, "W1"),
    "double-batch-mean": (of_one("b1", lambda v: v / B), "b1"),
    "permuted": (of_one("W1", lambda v: np.roll(v, 1, axis=1)), "W1"),
    "permuted backwards": (of_one("b2", lambda v: v[::-1]), "b2"),
    "transposed in memory": (of_one("W1", lambda v: v.T.reshape(v.shape)), "W1"),
    "missing-activation-derivative": (replaced(slope=lambda z, a: 1), "W1"),
    "derivative-of-activation-not-preactivation": (replaced(slope=lambda z, a: 1 - np.tanh(a) ** 2), "b1"),
    "softmax-elementwise": (replaced(delta_of=elementwise_softmax), "W2"),
    "cross-entropy-twice": (replaced(delta_of=twice), "W1"),
    "extra-term": (lambda g: {k: v + 0.01 * PARAMETERS[k] for k, v in g.items()}, "W2"),
    "missing-term": (lambda g: {k: v - 0.01 * PARAMETERS[k] for k, v in g.items()}, "W1"),
    "missing-term in one entry": (of_one("W1", at((1, 2), 0.123)), "W1"),
    "zeroed-entries": (of_one("W1", at(1, 0.0)), "W1"),
    "dtype": (lambda g: {k: v.astype(np.float32).astype(float) for k, v in g.items()}, "W1"),
    "detached": (of_one("W1", np.zeros_like), "W1"),
    "detached by None": (of_one("W2", lambda v: None), "W2"),
    "noise": (
        lambda g: {k: v + 2e-14 * np.max(np.abs(v)) * np.cos(np.arange(v.size)).reshape(v.shape) for k, v in g.items()},
        "W1",
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_the_first_cause_is_the_bug_that_was_planted(bug):
    change, of = PLANTED[bug]
    assert first(*network(change, of=of)).name == bug.split()[0]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_right_gradient_has_no_cause(name):
    assert named(*network(lambda g: g, of=name)) == []


def test_a_dropped_sample_of_a_captured_batch_is_an_outer_product_with_its_data():
    delta = np.linspace(0.01, 0.02, len(PARAMETERS["b1"]))
    change = of_one("W1", lambda v: v - np.outer(delta, X[-1]))
    cause = first(*network(change))
    assert cause.name == "dropped-samples"
    assert "sample 4 of x" in cause.evidence


def test_the_evidence_of_a_factor_counts_the_entries_and_names_the_batch():
    cause = first(*network(PLANTED["double-batch-mean"][0], of="b1"))
    assert cause.evidence.startswith("got / want = 1/5 in all 3 entries; the batch size is 5 (x, y)")
    assert "exact in W1, W2, b2" in cause.evidence


def test_a_factor_that_is_a_product_of_lengths_says_so():
    cause = first(*network(lambda g: {k: 30 * v for k, v in g.items()}, of="W1"))
    assert cause.name == "scale"
    assert "30 = 5 (axis 0 of x) * 6 (axis 0 of W2)" in cause.evidence


def test_a_batch_factor_is_not_called_a_scale_too():
    assert "scale" not in named(*network(PLANTED["missing-batch-mean"][0]))


def test_every_cause_has_evidence_and_something_to_do():
    for change, of in PLANTED.values():
        cause = first(*network(change, of=of))
        assert cause.evidence
        assert cause.suggestion
        assert 0 < cause.confidence <= 1


def test_nothing_but_noise_is_said_of_a_wrong_gradient_without_a_pattern():
    noise = np.random.default_rng(1).standard_normal(PARAMETERS["W1"].shape)
    assert named(*network(of_one("W1", lambda v: v + noise))) == []
