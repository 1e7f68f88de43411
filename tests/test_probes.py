"""A wrong gradient that is only asked along directions: the direction fails, and the search says where it is wrong."""

import numpy as np
import pytest

import gradverify as gv

ROWS, COLUMNS, BATCH = 300, 200, 16


class Net:
    """tanh(X W + b) with a squared error; ``plant`` spoils the gradients. Forwards are counted."""

    def __init__(self, plant):
        rng = np.random.default_rng(5)
        self.primals = {
            "X": rng.standard_normal((BATCH, ROWS)),
            "W": rng.standard_normal((ROWS, COLUMNS)) / np.sqrt(ROWS),
            "b": 0.1 * rng.standard_normal(COLUMNS),
        }
        self.y = rng.standard_normal((BATCH, COLUMNS))
        self.plant, self.forwards = plant, 0

    def forward(self, X, W, b, y):
        self.forwards += 1
        a = np.tanh(X @ W + b)
        return 0.5 * np.sum((a - y) ** 2) / len(X), (X, W, a, y)

    def backward(self, upstream, cache):
        X, W, a, y = cache
        d = upstream * (a - y) / len(X) * (1 - a**2)
        gradients = {"X": d @ W.T, "W": X.T @ d, "b": d.sum(axis=0)}
        self.plant(gradients)
        return gradients

    def verify(self):
        # slow enough that every entry by differences is out of reach
        return gv.verify(
            (self.forward, self.backward), self.primals, constants={"y": self.y}, level="quick",
            checks=["pullback-matches-oracle"], oracles=["finite-differences"],
        )  # fmt: skip


def entry(g):
    g["W"][123, 45] *= 1.001


def row(g):
    g["W"][17] *= 1.5


def column(g):
    g["W"][:, 60] = 0


def sample(g):
    g["X"][-1] = 0


def diagonal(g):
    np.fill_diagonal(g["W"], 0)


def above_the_diagonal(g):
    g["W"][np.triu_indices(ROWS, 1, COLUMNS)] *= -1


def rectangle(g):
    g["W"][40:90, 100:130] *= 1.2


def layer(g):
    g["W"] *= -1


def bias(g):
    g["b"] /= BATCH


def two_entries(g):
    g["W"][10, 20] += 0.01
    g["W"][200, 190] -= 0.02


PLANTED = {
    entry: ("W", "only there"),
    row: ("W", "all in row 17"),
    column: ("W", "all in column 60"),
    sample: ("X", f"all in row {BATCH - 1}"),
    diagonal: ("W", "all on the diagonal"),
    above_the_diagonal: ("W", "all above the diagonal"),
    rectangle: ("W", "all within [40:90, 100:130]"),
    layer: ("W", "all over the array"),
    bias: ("b", "all over the array"),
    two_entries: ("W", "all within [10:201, 20:191]"),
}


def located(report):
    """The findings of the value check about a single primal."""
    return [f for f in report.findings if f.check == "pullback-matches-oracle" and f.facts.get("primal")]


@pytest.fixture(autouse=True)
def only_directions_are_affordable(monkeypatch):
    from gradverify.consult import Consultation

    monkeypatch.setattr(Consultation, "affordable", lambda self, **_: False)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda f: f.__name__)
def test_the_search_names_the_primal_and_what_is_wrong_in_it(plant):
    name, where = PLANTED[plant]
    report = Net(plant).verify()
    found = located(report)
    assert report.verdict == "fail"
    assert [f.facts["primal"] for f in found] == [name]
    assert found[0].facts["where"] == where


@pytest.mark.parametrize("plant", PLANTED, ids=lambda f: f.__name__)
def test_every_entry_that_the_search_names_first_is_wrong(plant):
    right, wrong = Net(lambda g: None), Net(plant)
    truth = right.backward(1.0, right.forward(**right.primals, y=right.y)[1])
    got = wrong.backward(1.0, wrong.forward(**wrong.primals, y=wrong.y)[1])
    found = located(wrong.verify())
    assert found
    for f in found:
        at = f.facts["entries"][0]
        assert got[f.facts["primal"]][at] != truth[f.facts["primal"]][at]


@pytest.mark.parametrize("plant", [column, sample, diagonal], ids=lambda f: f.__name__)
def test_zeros_that_the_search_led_to_are_zeroed_entries_and_no_gradient_that_is_cut_off(plant):
    report = Net(plant).verify()
    assert report.causes == ["zeroed-entries"]
    assert PLANTED[plant][1] in str(report)


def test_a_single_wrong_entry_is_the_worst_of_the_finding():
    report = Net(entry).verify()
    found = located(report)[0]
    assert found.index == (123, 45)
    assert found.got == pytest.approx(1.001 * found.want, rel=1e-6)


def test_a_right_gradient_passes_along_directions():
    report = Net(lambda g: None).verify()
    assert report.verdict == "pass"
    assert all(f.facts["seen_in_one_entry"] < 1e-6 for f in report.findings if "seen_in_one_entry" in f.facts)


def test_entries_that_are_not_finite_are_named_without_a_search():
    def nan(g):
        g["W"][3, 4] = np.nan

    net = Net(nan)
    found = located(net.verify())
    assert [(f.facts["primal"], f.index) for f in found] == [("W", (3, 4))]


def test_two_primals_that_are_wrong_are_both_named():
    def both(g):
        g["W"] *= 2
        g["b"] *= 2

    found = located(Net(both).verify())
    assert {f.facts["primal"] for f in found} == {"W", "b"}


@pytest.mark.parametrize("plant", [entry, row, layer, bias], ids=lambda f: f.__name__)
def test_a_failing_check_costs_a_few_times_a_passing_one(plant):
    right, wrong = Net(lambda g: None), Net(plant)
    right.verify()
    wrong.verify()
    assert wrong.forwards < 5 * right.forwards


@pytest.mark.parametrize("convention", ["first", "last", "split"])
@pytest.mark.parametrize("seed", [4, 7, 20, 22])
def test_ties_in_many_places_at_once_are_no_false_alarm_along_a_direction(convention, seed):
    x = np.random.default_rng(seed).integers(0, 3, (40, 60)).astype(float)  # most rows have several largest entries

    def forward(x):
        return x.max(axis=1), x

    def backward(upstream, x):
        largest = x == x.max(axis=1, keepdims=True)
        if convention == "split":
            return upstream[:, None] * largest / largest.sum(axis=1, keepdims=True)
        at = largest.argmax(axis=1) if convention == "first" else x.shape[1] - 1 - largest[:, ::-1].argmax(axis=1)
        return upstream[:, None] * (np.arange(x.shape[1]) == at[:, None])

    report = gv.verify(
        (forward, backward), {"x": x}, checks=["pullback-matches-oracle"], oracles=["finite-differences"], seed=seed
    )
    assert not [f for f in report.findings if f.verdict == "fail"]


def test_a_primal_too_small_to_be_judged_along_a_direction_is_named():
    primals = {"a": np.full(300, 2.0), "b": np.full(300, 3.0)}

    def forward(a, b):
        return np.sum(np.sin(a)) + 1e-16 * np.sum(np.sin(b)), (a, b)

    def backward(upstream, cache):
        a, b = cache
        return {"a": upstream * np.cos(a), "b": 1e-16 * upstream * np.cos(b)}

    report = gv.verify((forward, backward), primals, checks=["pullback-matches-oracle"], oracles=["finite-differences"])
    said = [note for f in report.findings for note in f.notes if "too small beside the others" in note]
    assert said
    assert all(note.endswith("the gradient of b") for note in said)
