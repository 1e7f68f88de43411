"""``gradverify flow``: the law of the text, the rate measured, the verdict and its reason."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

import gradverify as gv
from gradverify.errors import UsageError
from gradverify.studies import flow
from gradverify.studies._deep import Scenario, parameters_of, passed
from gradverify.studies._networks import weights_of
from gradverify.studies._rates import fitted, gain, verdict
from gradverify.types import Case

DEEP = """
import numpy as np
import gradverify as gv


class Net:
    def __init__(self, rng, depth, sigmoid, scale=1.0):
        self.sigmoid = sigmoid
        self.params = {}
        for i in range(1, depth + 1):
            self.params[f"W{i}"] = scale * rng.normal(0, np.sqrt((1 if sigmoid else 2) / 16), (16, 16))
            self.params[f"b{i}"] = np.zeros(16)

    def value_and_grad(self, X, **p):
        a, kept = X, []
        depth = len(p) // 2
        for i in range(1, depth + 1):
            z = a @ p[f"W{i}"].T + p[f"b{i}"]
            kept.append((a, z))
            a = 1 / (1 + np.exp(-z)) if self.sigmoid else np.maximum(z, 0)
        d, grads = a / len(X), {}
        for i in range(depth, 0, -1):
            before, z = kept[i - 1]
            s = 1 / (1 + np.exp(-z))
            d = d * (s * (1 - s) if self.sigmoid else z > 0)
            grads[f"W{i}"], grads[f"b{i}"] = d.T @ before, d.sum(0)
            d = d @ p[f"W{i}"]
        grads["X"] = d
        return 0.5 * np.sum(a**2) / len(X), grads


def made(rng, *how):
    net = Net(rng, *how)
    return (lambda X, **p: net.value_and_grad(X, **p)), {"X": rng.normal(0, 1, (8, 16)), **net.params}


@gv.subject
def sigmoid(rng):
    return made(rng, 10, True)


@gv.subject
def large(rng):
    return made(rng, 10, False, 3.0)


@gv.subject
def healthy(rng):
    return made(rng, 10, False)


@gv.subject
def shallow(rng):
    return made(rng, 2, True)
"""


@pytest.fixture
def deep(here):
    path = here / "deep.py"
    path.write_text(DEEP)
    return path


@pytest.mark.parametrize("factor", [0.25, 1.0, 1.7])
def test_an_exact_exponential_is_fitted_exactly(factor):
    norms = [3.0 * factor ** (9 - layer) for layer in range(10)]
    assert fitted(norms).factor == pytest.approx(factor)
    assert fitted(norms).fit == pytest.approx(1.0)


def test_the_gain_is_what_a_random_matrix_does_to_a_random_vector_on_average():
    rng = np.random.default_rng(0)
    W = rng.normal(0, 0.3, (40, 60))
    u = rng.normal(0, 1, (40, 20000))
    measured = np.sqrt(np.mean(np.sum((W.T @ u) ** 2, axis=0)) / np.mean(np.sum(u**2, axis=0)))
    assert gain(W) == pytest.approx(measured, rel=0.02)


@pytest.mark.parametrize(
    ("norms", "word", "reason"),
    [
        ([1e-6, 1e-4, 1e-2, 1.0], "vanishing", "a factor 0.01 per layer"),
        ([1e6, 1e4, 1e2, 1.0], "exploding", "a factor 100 per layer"),
        ([1.0, 1.1, 0.9, 1.0], "healthy", "dL/dW of layer 1 is 1.0e+00 of that of layer 4"),
        ([1.0, math.nan, 1.0], "exploding", "the gradient of layer 2 is not finite"),
        ([math.inf, 1.0, 1.0], "exploding", "the gradient of layer 1 is not finite"),
        ([0.0, 0.0, 1.0], "vanishing", "the gradient of layer 1 is exactly zero"),
        ([1e-9, 1.0], "too shallow", "2 layers have no rate"),
    ],
)
def test_the_verdict_has_its_reason(norms, word, reason):
    assert verdict(norms)[0] == word
    assert reason in verdict(norms)[1]


def test_small_weights_vanish_although_all_weight_gradients_are_equally_small():
    word, why = verdict([1e-6] * 5, deltas=[1e-5, 1e-4, 1e-3, 1e-2, 1e-1], w=0.1, s=0.99)
    assert word == "vanishing"
    assert "the weights are too small" in why


def test_the_smaller_factor_is_blamed():
    assert "the slopes are too small" in verdict([1e-9, 1e-5, 1.0], w=1.0, s=0.2)[1]
    assert "the weights are too large" in verdict([1e9, 1e5, 1.0], w=3.0, s=0.9)[1]


def test_a_ratio_that_the_law_does_not_explain_is_not_blamed_on_it():
    assert "not by w s" in verdict([1e-9, 1e-5, 1.0], w=2.0, s=1.0)[1]


@pytest.mark.parametrize(("normalisation", "residual"), [("", False), ("batch", False), ("layer", True), ("", True)])
def test_the_gradients_of_the_compared_networks_are_right(normalisation, residual):
    s = Scenario(group="", sigma="gelu", initialisation="he", normalisation=normalisation, residual=residual)
    rng = np.random.default_rng(3)
    X, labels = rng.normal(0, 1, (7, 5)), rng.integers(0, 3, 7)
    parameters = parameters_of(s, (5, 5, 5, 3), rng)
    biases = [rng.normal(0, 0.3, b.shape) for b in parameters[1::2]]

    def loss_and_gradients(W1, W2, W3):
        p = passed(s, X, labels, [W1, biases[0], W2, biases[1], W3, biases[2]])
        return p.loss, dict(zip(("W1", "W2", "W3"), p.gradients, strict=True))

    weights = dict(zip(("W1", "W2", "W3"), parameters[::2], strict=True))
    gv.verify(
        gv.value_and_grad(loss_and_gradients), weights, checks=["pullback-matches-oracle"], level="quick"
    ).raise_for_failures()


def test_the_law_of_the_text_predicts_the_measured_rate_of_a_plain_network():
    rows = [
        r
        for r in flow.summary(flow.comparison(depth=12, width=48))
        if r["network"] in ("sigmoid, xavier", "relu, he x 2")
    ]
    assert [(r["network"], r["verdict"]) for r in rows[:2]] == [
        ("relu, he x 2", "exploding"),
        ("sigmoid, xavier", "vanishing"),
    ]
    for r in rows:
        assert r["delta_rate"] == pytest.approx(r["ws"], rel=0.05)


def test_the_remedies_of_the_text_help():
    rows = {(r["group"], r["network"]): r["verdict"] for r in flow.summary(flow.comparison(depth=20, width=32))}
    for group in ("normalisation", "residual"):
        found = [rows[key] for key in rows if key[0] == group]
        assert found.count("vanishing") == 2
        assert set(found[1:2]) == {"healthy"}
    assert rows["initialisation", "relu, he"] == "healthy"


@pytest.mark.slow
def test_on_digits_the_network_whose_gradients_vanish_learns_nothing_and_the_other_learns():
    pytest.importorskip("sklearn", reason="the digits ship with scikit-learn")
    rows = {r["network"]: r["verdict"] for r in flow.summary(flow.trained())}
    assert rows["sigmoid, xavier, digits, 30 epochs, 10% right"] == "vanishing"
    assert [v for k, v in rows.items() if k.startswith("relu, he")] == ["healthy", "healthy"]


def test_clipping_by_norm_caps_the_step_and_keeps_the_ratio():
    s = Scenario(group="", sigma="relu", initialisation="he", times=2)
    rng = np.random.default_rng(0)
    X, labels, parameters = rng.normal(0, 1, (8, 6)), rng.integers(0, 3, 8), parameters_of(s, (6, 6, 6, 3), rng)
    free = passed(s, X, labels, parameters).gradients
    capped = passed(
        Scenario(group="", sigma="relu", initialisation="he", clipping="norm"), X, labels, parameters
    ).gradients
    assert np.sqrt(sum(np.sum(g**2) for g in capped)) == pytest.approx(1.0)
    assert np.allclose(capped[0] / np.linalg.norm(capped[1]), free[0] / np.linalg.norm(free[1]), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "word", "status"),
    [("sigmoid", "vanishing", 1), ("large", "exploding", 1), ("healthy", "healthy", 0), ("shallow", "too shallow", 5)],
)
def test_a_users_network_gets_its_verdict_and_exit_status(run, deep, name, word, status):
    found, out, _ = run("flow", f"{deep}:{name}")
    assert found == status
    assert word in out


def test_a_torch_modules_layers_are_found_in_order(here):
    pytest.importorskip("torch")
    path = here / "module.py"
    path.write_text(
        "import torch, gradverify as gv\n"
        "@gv.subject\n"
        "def net(rng):\n"
        "    torch.manual_seed(0)\n"
        "    layers = [m for _ in range(6) for m in (torch.nn.Linear(8, 8), torch.nn.Sigmoid())]\n"
        "    return torch.nn.Sequential(*layers).double(), {'input': rng.normal(0, 1, (4, 8))}\n"
    )
    rows = flow.user_rows([str(path)], (), 0)
    assert [r["weights"] for r in rows] == [f"{i}.weight" for i in range(0, 12, 2)]
    assert flow.summary(rows)[0]["verdict"] == "vanishing"
    assert all(np.isfinite(r["delta_norm"]) for r in rows)


def named(*names):
    return Case(name="net", primals={n: np.ones((2, 2)) for n in names})


@pytest.mark.parametrize(
    "names", [("W1", "W2", "W10"), ("w0", "w1"), ("fc.weight", "out.weight"), ("kernel_1", "kernel_2")]
)
def test_weights_are_found_by_their_names_and_in_order(names):
    assert weights_of(object(), named("X", *reversed(names) if "1" in names[0] else names)) == list(names)


def test_weights_that_look_like_nothing_must_be_named():
    with pytest.raises(UsageError, match=r"none of X, A1, A2 looks like the weights .* --weights W1,W2"):
        weights_of(object(), named("X", "A1", "A2"))
    assert weights_of(object(), named("X", "A1", "A2"), ("A2", "A1")) == ["A2", "A1"]


def test_an_unknown_name_lists_the_primals():
    with pytest.raises(UsageError, match="--weights names 'W9'; the primals of net are X, W1"):
        weights_of(object(), named("X", "W1"), ("W9",))


def test_the_command_writes_its_files_and_says_how(run, here):
    status, out, _ = run("flow", "--depth", "5", "--width", "8", "--epochs", "0", "--seed", "2")
    assert status == 0
    assert "vanishing" in out
    for name in ("flow.md", "flow.csv"):
        assert "gradverify flow --depth 5 --width 8 --epochs 0 --seed 2" in (here / "reports" / name).read_text()


def test_without_matplotlib_the_table_is_written_and_says_what_would_draw_the_figure(run, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, _ = run("flow", "--depth", "3", "--width", "8", "--epochs", "0")
    assert status == 0
    assert "pip install 'gradverify[plot]'" in out
    assert "pip install 'gradverify[plot]'" in (here / "reports" / "flow.md").read_text()
    assert not (here / "reports" / "flow.svg").exists()


def test_the_figure_is_the_same_for_the_same_seed(run, here):
    pytest.importorskip("matplotlib", reason="draws the figure: install gradverify[plot]")
    for folder in ("a", "b"):
        run("flow", "--depth", "3", "--width", "8", "--epochs", "0", "--out", folder)
    assert (here / "a" / "flow.svg").read_bytes() == (here / "b" / "flow.svg").read_bytes()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--depth", "2"], "a whole number from 3 up, not '2'"),
        (["--depth", "many"], "a whole number from 3 up, not 'many'"),
        (["nowhere.py"], "there is no file 'nowhere.py'"),
        (["--seed", "-1"], "a seed is a whole number"),
    ],
)
def test_bad_input_is_exit_status_2_with_one_clear_line(run, argv, said):
    status, _, err = run("flow", *argv)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1
