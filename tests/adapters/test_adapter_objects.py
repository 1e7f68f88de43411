"""What else hangs on an object: parameters whose gradient was forgotten, lists that every forward adds to."""

from __future__ import annotations

import numpy as np
import pytest

import gradverify as gv
from gradverify.adapters._adapt import adapt

B, N_IN, N_OUT = 5, 4, 3


@pytest.fixture
def x(rng):
    return rng.standard_normal((B, N_IN))


@pytest.fixture
def y(rng):
    return rng.standard_normal((B, N_OUT))


def weights(shape=(N_IN, N_OUT)):
    return np.random.default_rng(0).standard_normal(shape)


def wrong(report):
    return {f.facts["primal"] for f in report.findings if f.check == "pullback-matches-oracle" and f.verdict == "fail"}


class Squared:
    """A network whose loss returns gradients by the names of its parameters."""

    def __init__(self, gives=("W", "b"), **more):
        self.params = {"W": weights(), "b": np.ones(N_OUT), **more}
        self.gives = gives

    def loss(self, x, y):
        shift = sum(v.sum() for n, v in self.params.items() if n.startswith(("running", "shift")))
        d = x @ self.params["W"] + self.params["b"] + shift - y
        grads = {"W": x.T @ d, "b": d.sum(0)}
        return 0.5 * np.sum(d**2), {n: grads[n] for n in self.gives}


def test_a_network_that_forgets_the_gradient_of_a_parameter_fails(x, y):
    report = gv.verify(Squared(gives=("W",)), {}, constants={"x": x, "y": y})
    assert report.verdict == "fail"
    assert wrong(report) == {"b"}
    assert "detached" in report.causes


def test_a_network_that_gives_every_gradient_passes_with_what_its_loss_does_not_use(x, y):
    report = gv.verify(Squared(unused=np.ones(N_OUT)), {}, constants={"x": x, "y": y})
    assert report.verdict == "pass"


def test_running_statistics_beside_the_parameters_need_no_gradient(x, y):
    report = gv.verify(Squared(running_mean=np.ones(N_OUT)), {}, constants={"x": x, "y": y})
    assert report.verdict == "pass"


class Affine:
    """A layer with its parameters in a dict, its gradients in another."""

    def __init__(self, gives=("W", "b")):
        self.params, self.grads, self.gives = {"W": weights(), "b": np.ones(N_OUT)}, {}, gives

    def forward(self, x):
        self.x = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dout):
        found = {"W": self.x.T @ dout, "b": dout.sum(0)}
        self.grads = {n: found[n] for n in self.gives}
        return dout @ self.params["W"].T


def test_a_layer_that_forgets_one_gradient_in_its_dict_fails(x):
    assert gv.verify(Affine(), {"x": x}).verdict == "pass"
    report = gv.verify(Affine(gives=("W",)), {"x": x})
    assert wrong(report) == {"b"}


class Slots:
    """A layer with a place for each gradient, which starts as None."""

    def __init__(self, *, fills=True, trainable=True):
        self.W, self.b = weights(), np.ones(N_OUT)
        self.dW = self.db = None
        self.fills, self.trainable = fills, trainable

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        if self.fills:
            self.db = dout.sum(0)
        return dout @ self.W.T


def test_a_layer_that_leaves_the_place_of_a_gradient_empty_fails(x):
    assert gv.verify(Slots(), {"x": x}).verdict == "pass"
    assert wrong(gv.verify(Slots(fills=False), {"x": x})) == {"b"}


def test_what_is_not_trainable_needs_no_gradient(x):
    assert gv.verify(Slots(fills=False, trainable=False), {"x": x}).verdict == "pass"


def test_a_fixed_array_beside_the_parameters_is_no_parameter(x):
    class Scaled(Slots):
        def __init__(self):
            super().__init__()
            self.scale = np.full(N_OUT, 2.0)

        def forward(self, x):
            return super().forward(x) * self.scale

        def backward(self, dout):
            return super().backward(dout * self.scale)

    assert adapt(Scaled(), {"x": x}).parameters().keys() == {"W", "b"}
    assert gv.verify(Scaled(), {"x": x}).verdict == "pass"


class Stepping:
    """Updates its parameters within backward, as far as ``steps`` says."""

    def __init__(self, steps=("W", "b")):
        self.W, self.b, self.steps = weights(), np.ones(N_OUT), steps

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout, learning_rate):
        dx = dout @ self.W.T
        if "W" in self.steps:
            self.W -= learning_rate * self.x.T @ dout
        if "b" in self.steps:
            self.b -= learning_rate * dout.sum(0)
        return dx


@pytest.mark.parametrize(("steps", "forgotten"), [(("W",), {"b"}), (("b",), {"W"}), ((), {"W", "b"})])
def test_a_parameter_that_no_step_changes_fails(x, steps, forgotten):
    assert gv.verify(Stepping(), {"x": x}).verdict == "pass"
    assert wrong(gv.verify(Stepping(steps), {"x": x})) == forgotten


class Collecting:
    """Makes its weights at the first forward and keeps every input: backward takes an upstream for each of them."""

    def __init__(self):
        self.made, self.kept, self.params, self.grads = False, [], {"W": None}, {}

    def forward(self, x):
        if not self.made:
            self.params = {"W": weights((x.shape[1], N_OUT))}
            self.grads = {"W": np.zeros_like(self.params["W"])}
            self.made = True
        self.kept.append(x)
        return np.tanh(x @ self.params["W"])

    def backward(self, dout):
        given = dout if isinstance(dout, list) else [dout]
        found = []
        for d, x in zip(given, self.kept, strict=False):
            dz = d * (1 - np.tanh(x @ self.params["W"]) ** 2)
            self.grads["W"] += x.T @ dz
            found.append(dz @ self.params["W"].T)
        return found[0] if len(self.kept) == 1 else found


def test_weights_made_by_the_first_forward_come_without_what_it_kept(agree, x):
    agree(Collecting(), {"x": x}, expect={"x", "W"})


def test_a_layer_that_collects_its_forwards_for_a_list_of_upstreams_passes(x):
    assert gv.verify(Collecting(), {"x": x}).verdict == "pass"


def test_a_layer_that_keeps_only_its_first_input_fails():
    class First:
        def __init__(self):
            self.kept = []

        def forward(self, x):
            self.kept.append(x)
            return x**2

        def backward(self, dout):
            return 2 * dout * self.kept[0]

    report = gv.verify(First(), {"x": np.random.default_rng(0).standard_normal((B, N_IN))})
    assert report.verdict == "fail"
    assert "stale-state" in report.causes
