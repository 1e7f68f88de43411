"""Train mode and eval mode, wherever the flag is kept."""

import numpy as np
import pytest

import gradverify as gv
from tests.checks.right import B, W, X, batch_norm, batch_norm_back

PRIMALS = {"x": X, "gamma": W[1], "beta": W[0]}
STATISTICS = {"mean": W[2], "var": np.abs(W[0]) + 0.5}


def rows(subject, primals=None, **more):
    report = gv.verify(subject, PRIMALS if primals is None else primals, checks=["train-and-eval"], **more)
    return [f for f in report.findings if f.check == "train-and-eval"]


def verdicts(*args, **more):
    return {f.verdict.value for f in rows(*args, **more)}


def always_train(u, cache):
    return batch_norm_back(u, (*cache[:3], True))


def nested(x, gamma, beta, bn_param):
    return batch_norm(x, gamma, beta, W[2], STATISTICS["var"], bn_param["mode"] == "train")


def left_at_default(x, gamma, beta, mean, var, training=True):
    return batch_norm(x, gamma, beta, mean, var, training)


WAYS = {
    "constant": (batch_norm, {**STATISTICS, "training": True}),
    "nested constant": (nested, {"bn_param": {"mode": "train"}}),
    "default": (left_at_default, STATISTICS),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("backward", "verdict"), [(batch_norm_back, "pass"), (always_train, "fail")])
def test_the_formula_of_train_mode_is_wrong_in_eval_mode_wherever_the_flag_is(way, backward, verdict):
    forward, constants = WAYS[way]
    assert verdict in verdicts((forward, backward), constants=constants)


class KeepsItsMask:
    """Dropout that makes a mask in train mode only."""

    def __init__(self, at_first=(), asks=False):
        self.asks = asks
        if at_first != ():
            self.mask = at_first

    def forward(self, x, train=True):
        self.train = train
        if not train:
            return x * 1.0
        self.mask = (np.random.default_rng(0).random(x.shape) > 0.5) * 2.0
        return x * self.mask

    def backward(self, u):
        if self.asks and not self.train:
            return u * 1.0
        return u if self.mask is None else u * self.mask


@pytest.mark.parametrize(
    ("layer", "verdict"),
    [(KeepsItsMask(None), "fail"), (KeepsItsMask(None, asks=True), "pass"), (KeepsItsMask(), "pass")],
    ids=["None before training", "right", "no mask before training: nobody asks for eval mode"],
)
def test_a_mask_of_train_mode_that_eval_mode_still_uses_is_seen(layer, verdict):
    assert gv.verify(layer, {"x": X}).verdict == verdict


class Dropout:
    def __init__(self):
        self.training = True
        self.mask = np.ones(())

    def forward(self, x):
        self.mask = (np.random.default_rng(0).random(x.shape) > 0.5) * 2.0 if self.training else np.ones(())
        return x * self.mask

    def backward(self, u):
        return u * self.mask


class Stale(Dropout):
    def forward(self, x):
        if not self.training:
            return x * 0.5
        return super().forward(x)


class Network:
    def __init__(self, layer):
        self.layers = [layer]

    def forward(self, x):
        return self.layers[0].forward(x)

    def backward(self, u):
        return self.layers[0].backward(u)


@pytest.mark.parametrize(("layer", "verdict"), [(Dropout, "pass"), (Stale, "fail")])
@pytest.mark.parametrize("wrap", [lambda layer: layer, Network], ids=["layer", "network"])
def test_the_flag_of_an_object_is_turned_on_a_copy(layer, verdict, wrap):
    own = layer()
    assert verdicts(wrap(own), {"x": X}) == {verdict}
    assert own.training


def test_a_torch_module_is_judged_in_both_modes_and_left_in_its_own():
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).double()
    assert verdicts(module, {"x": X}) == {"pass"}
    assert all(m.training for m in module.modules())


def test_a_mode_whose_backward_refuses_to_run_is_skipped():
    def forward(x, training=True):
        return (2 * x, 2.0) if training else (x, None)

    assert verdicts((forward, lambda u, c: u * c), {"x": X}) == {"skipped"}


def test_without_a_mode_nothing_is_measured():
    assert verdicts((lambda x: (2 * x, None), lambda u, c: 2 * u), {"x": B}) == {"skipped"}


def test_a_tolerance_of_the_user_holds_in_the_other_mode():
    def roughly(u, cache):
        return {k: g * (1 + 1e-6) for k, g in batch_norm_back(u, cache).items()}

    assert verdicts((left_at_default, roughly), constants=STATISTICS, tolerance=1e-4) == {"pass"}


def test_where_the_value_is_left_unjudged_the_other_mode_is_too():
    surrogate = "straight through"
    assert verdicts((left_at_default, always_train), constants=STATISTICS, surrogate=surrogate) == {"skipped"}
