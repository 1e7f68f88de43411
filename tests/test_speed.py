"""What a check may cost, in forwards that a counting implementation sees and in memory: ratios of DESIGN section 11."""

import tracemalloc

import numpy as np
import pytest

import gradverify as gv

VALUE = ["pullback-matches-oracle"]
DIFFERENCES = ["finite-differences"]


class Counted:
    """A tanh network in float64, 320 -> 400 -> 10: 132,410 parameters; ``plant`` spoils the gradients."""

    def __init__(self, plant=lambda g: None):
        rng = np.random.default_rng(0)
        self.primals = {
            "W": rng.standard_normal((320, 400)) / 18,
            "b": 0.1 * rng.standard_normal(400),
            "V": rng.standard_normal((400, 10)) / 20,
            "c": 0.1 * rng.standard_normal(10),
        }
        self.constants = {"X": rng.standard_normal((32, 320)), "y": rng.standard_normal((32, 10))}
        self.plant, self.forwards = plant, 0

    def forward(self, W, b, V, c, X, y):
        self.forwards += 1
        a = np.tanh(X @ W + b)
        r = a @ V + c - y
        return 0.5 * np.sum(r * r) / len(X), (a, r, V, X)

    def backward(self, upstream, cache):
        a, r, V, X = cache
        d = upstream * r / len(X)
        e = (d @ V.T) * (1 - a * a)
        gradients = {"W": X.T @ e, "b": e.sum(axis=0), "V": a.T @ d, "c": d.sum(axis=0)}
        self.plant(gradients)
        return gradients

    def verify(self, **options):
        return gv.verify((self.forward, self.backward), self.primals, constants=self.constants, checks=VALUE, **options)


def one_entry(gradients):
    g = gradients["W"].reshape(-1)
    g[np.argsort(np.abs(g))[g.size // 2]] *= 1 + 1e-5


@pytest.mark.parametrize(("oracles", "most"), [(None, 8), (DIFFERENCES, 16)], ids=["every oracle", "differences"])
def test_a_large_network_is_verified_in_so_many_forwards(oracles, most):
    net = Counted()
    assert net.verify(oracles=oracles).verdict == "pass"
    assert net.forwards <= most


@pytest.mark.parametrize("oracles", [None, DIFFERENCES], ids=["every oracle", "differences"])
def test_one_entry_of_many_that_is_wrong_by_1e5_of_itself_is_named(oracles):
    net = Counted(one_entry)
    report = net.verify(oracles=oracles)
    right = Counted()
    g = right.backward(1.0, right.forward(**right.primals, **right.constants)[1])["W"]
    where = np.unravel_index(np.argsort(np.abs(g), axis=None)[g.size // 2], g.shape)
    assert tuple(map(int, where)) in {f.index for f in report.findings if f.verdict == "fail"}


def sign_of_a_layer(gradients):
    gradients["W"] *= -1


@pytest.fixture
def dear_forwards(monkeypatch):
    """Every forward counts as one that takes long."""
    monkeypatch.setattr("gradverify.consult.DEAR", 0.0)


@pytest.mark.usefixtures("dear_forwards")
@pytest.mark.parametrize("plant", [one_entry, sign_of_a_layer], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("oracles", "most"), [(None, 10), (DIFFERENCES, 50)], ids=["every oracle", "differences"])
def test_where_forwards_are_dear_a_fail_takes_few_more_of_them_than_a_pass(oracles, most, plant):
    wrong = Counted(plant)
    report = wrong.verify(oracles=oracles)
    assert report.verdict == "fail"
    assert wrong.forwards <= most
    if plant is sign_of_a_layer:
        assert report.causes[0] == "sign"


@pytest.mark.usefixtures("dear_forwards")
def test_where_forwards_are_dear_a_cause_that_the_numbers_do_not_show_is_still_looked_for(monkeypatch):
    monkeypatch.setattr("gradverify.counterfactuals.FORWARDS", 10_000)  # the forwards here only count as dear

    class NoSlope(Counted):
        def backward(self, upstream, cache):
            a, r, V, X = cache
            d = upstream * r / len(X)
            e = d @ V.T
            return {"W": X.T @ e, "b": e.sum(axis=0), "V": a.T @ d, "c": d.sum(axis=0)}

    assert NoSlope().verify().causes[0] == "missing-activation-derivative"


def test_one_median_entry_wrong_by_1e7_of_itself_is_seen_by_differences_alone():
    def barely(gradients):
        g = gradients["W"].reshape(-1)
        g[np.argsort(np.abs(g))[g.size // 2]] *= 1 + 1e-7

    assert Counted(barely).verify(oracles=DIFFERENCES).verdict == "fail"


@pytest.mark.parametrize("oracles", [None, DIFFERENCES], ids=["every oracle", "differences"])
def test_an_elementwise_op_needs_no_dense_jacobian(oracles):
    x = np.random.default_rng(0).standard_normal(10_000)

    def verify():
        return gv.verify(
            (lambda x: np.tanh(x), lambda upstream, x: upstream * (1 - np.tanh(x) ** 2)), {"x": x},
            checks=VALUE, oracles=oracles,
        )  # fmt: skip

    assert verify().verdict == "pass"  # also imports what it needs
    tracemalloc.start()
    verify()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 2**20  # the Jacobian has 763 MiB
