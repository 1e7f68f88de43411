"""``gradverify cost``: counts are exact, clocks are brought along, and no test asserts a time."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import gradverify as gv
from gradverify.adapters._adapt import adapt
from gradverify.errors import UsageError
from gradverify.studies import _cost_reference as reference
from gradverify.studies import _cost_user as user
from gradverify.studies import cost
from gradverify.studies._meter import Meter, exponent, lines, peak
from gradverify.types import Case

SUBJECTS = """
import numpy as np
import gradverify as gv


def forward(x, W):
    return np.tanh(x @ W.T), (x, W)


def backward(upstream, cache):
    x, W = cache
    delta = upstream * (1 - np.tanh(x @ W.T) ** 2)
    return {"x": delta @ W, "W": delta.T @ x}


def loop(upstream, cache):
    x, W = cache
    dx, dW = np.zeros_like(x), np.zeros_like(W)
    for i in range(len(x)):
        delta = upstream[i] * (1 - np.tanh(W @ x[i]) ** 2)
        dx[i] = W.T @ delta
        dW += np.outer(delta, x[i])
    return {"x": dx, "W": dW}


def quadratic(upstream, cache):
    x, W = cache
    delta = upstream * (1 - np.tanh(x @ W.T) ** 2)
    return {"x": delta @ W, "W": (np.eye(len(x)) @ delta).T @ x}


def primals(rng):
    return {"x": rng.standard_normal((64, 3)), "W": rng.standard_normal((4, 3))}


@gv.subject
def vectorised(rng):
    return (forward, backward), primals(rng)


@gv.subject
def python_loop(rng):
    return (forward, loop), primals(rng)


@gv.subject
def quadratic_slip(rng):
    return (forward, quadratic), primals(rng)
"""


class Counter:
    """A clock that stands still but when work is done: ``work(n)`` takes n seconds."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def work(self, n):
        self.now += n


@pytest.fixture
def subjects(here):
    path = here / "layers.py"
    path.write_text(SUBJECTS)
    return path


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    path = tmp_path_factory.mktemp("sentences") / "layers.py"
    path.write_text(SUBJECTS)
    clock = Counter()  # nothing takes any time: what is said comes from counts
    return cost.yours([str(path)], (), 0, Meter(clock=clock, repeats=1, least=0))


def test_a_meter_takes_the_fastest_run_and_leaves_the_preparation_out():
    clock, times = Counter(), iter([9.0, 5.0, 7.0, 4.0, 8.0, 6.0, 5.0])

    def fresh():
        clock.work(100)
        seconds = next(times)
        return lambda: clock.work(seconds)

    assert Meter(clock=clock, repeats=5).seconds(fresh) == 4.0


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3])
def test_an_exact_power_law_is_fitted_exactly(p):
    sizes = [8, 16, 32, 64]
    assert exponent(sizes, [7.0 * n**p for n in sizes]) == pytest.approx(p, abs=1e-9)


def test_one_size_has_no_exponent():
    assert np.isnan(exponent([8, 8], [1.0, 2.0]))


def test_lines_are_counted_exactly():
    def work():
        total = 0
        for i in range(10):
            total += i
        return total

    counted = lines(work)
    assert counted.total() == 1 + 11 + 10 + 1
    assert max(counted.values()) == 11


def test_lines_of_numpy_and_of_gradverify_are_not_the_users():
    counted = lines(lambda: np.linalg.norm(exponent([1, 2], [1.0, 2.0])))
    assert {file for file, _ in counted} == {__file__}


def test_a_trace_function_that_was_there_before_is_put_back():
    before = sys.gettrace()
    lines(lambda: None)
    assert sys.gettrace() is before


def test_memory_tells_what_was_needed_from_what_is_kept():
    def work():
        large = np.zeros(1_000_000)
        return large[:1000].copy()

    most, held = peak(work)
    assert 8_000_000 <= most < 8_100_000
    assert 8_000 <= held < 20_000


def test_the_counts_are_those_of_the_text():
    found = reference.counts((3, 5, 2), batch=7)
    assert found == {
        "forward_ops": 7 * (5 * 3 + 2 * 5),
        "backward_ops": 2 * 7 * (5 * 3 + 2 * 5),
        "parameters": 5 * 3 + 5 + 2 * 5 + 2,
        "stored": 2 * 7 * (5 + 2),
    }


def test_the_network_holds_what_the_text_counts():
    row = reference.measured("width", 128, 4, 64, Meter(repeats=1), 0)
    assert row["held_over_stored"] == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_the_counted_exponents_are_those_of_the_text():
    growth = {"width": [(8, 2, 4), (16, 2, 4)], "depth": [(8, 2, 4), (8, 4, 4)], "batch": [(8, 2, 4), (8, 2, 8)]}
    rows = {r["axis"]: r for r in cost.exponents(cost.grown(Meter(repeats=1), 0, growth))}
    assert {axis: round(r["ops"], 6) for axis, r in rows.items()} == {"width": 2, "depth": 1, "batch": 1}
    assert rows["depth"]["differences_counted"] == pytest.approx(2, abs=0.05)
    assert rows["batch"]["differences_counted"] == pytest.approx(1)


def test_differences_take_a_forward_per_parameter_and_one():
    rows = list(reference.differences(Meter(repeats=1), 0))
    assert all(r["forwards"] == r["parameters"] + 1 for r in rows)


def test_checkpoints_hold_less_compute_twice_and_change_no_bit():
    rows = list(reference.checkpointing(0))
    for plain, saved in zip(rows[::2], rows[1::2], strict=True):
        assert saved["peak_numbers"] < plain["peak_numbers"]
        assert saved["layers_computed"] == 2 * plain["layers_computed"]
        assert saved["same_bits"]
    assert rows[-1]["of_all"] < 0.25


@pytest.mark.slow
def test_a_vectorised_backward_costs_what_it_should(sentences):
    assert sentences[1]["vectorised"] == []


@pytest.mark.slow
def test_a_loop_over_samples_is_found_with_its_line(sentences):
    [said] = sentences[1]["python_loop"]
    assert said.startswith("backward: a Python loop over samples")
    assert "layers.py:" in said
    assert "runs 4097 times: for i in range(len(x)):" in said


@pytest.mark.slow
def test_a_quadratic_slip_is_found_by_its_memory(sentences):
    [said] = sentences[1]["quadratic_slip"]
    assert said.startswith("backward: its memory grows like batch^")
    assert float(said.split("batch^")[1].split()[0]) > 1.6


def rows_of(forward, backward, lines=(5, 5, 5, 5)):
    hot = {"forward": ("f.py", 1, 1), "backward": ("f.py", 2, 1)}
    return [
        {"batch": n, "forward_s": forward(n), "backward_s": backward(n), "forward_lines": k, "backward_lines": k,
         "forward_bytes": n, "backward_bytes": n, "hot": hot}
        for n, k in zip((64, 128, 256, 512), lines, strict=True)
    ]  # fmt: skip


def test_a_backward_of_many_forwards_is_said_with_both_times():
    _, said = user.verdicts(rows_of(lambda n: 1e-3 * n, lambda n: 2e-2 * n), joined=False)
    assert said == ["backward: 20 times the forward at batch 512 (1.0e+01 s against 5.1e-01 s); 2 are due"]


def test_a_backward_of_two_forwards_is_as_it_should_be():
    assert user.verdicts(rows_of(lambda n: 1e-3 * n, lambda n: 2e-3 * n), joined=False)[1] == []


def test_what_is_too_short_to_be_measured_is_not_judged_by_its_time():
    assert user.verdicts(rows_of(lambda n: 1e-9, lambda n: 1e-12 * n**2), joined=False)[1] == []


def test_a_backward_whose_time_grows_with_the_square_is_said():
    _, said = user.verdicts(rows_of(lambda n: 1e-3 * n, lambda n: 1e-5 * n**2), joined=False)
    assert "backward: its time grows like batch^2.00 where batch^1 is due" in said


def test_value_and_gradients_in_one_function_have_no_ratio():
    assert user.verdicts(rows_of(lambda n: 1e-6 * n, lambda n: 2e-2 * n), joined=True)[1] == []


def batch(fn, primals, named=(), **constants):
    case = Case(name="net", primals=primals, constants=constants)
    return user.batch_of(adapt(fn, primals, constants=constants), case, named)


def test_arrays_that_grow_with_the_batch_are_found_by_trying():
    def loss(X, W, y):
        return float(np.sum((X @ W.T - y) ** 2)), {"X": X, "W": W}

    X, y = np.ones((4, 3)), np.ones((4, 4))
    assert batch(loss, {"X": X, "W": np.ones((4, 3))}, y=y) == ["X", "y"]


def test_a_batch_that_cannot_be_seen_must_be_named():
    def loss(p):
        return float(np.sum(p @ np.ones((2, 2)) @ np.ones((2, 2)) @ np.ones(2) * np.ones(2))), {"p": p}

    with pytest.raises(UsageError, match=r"cannot see which of p grow with the batch; name them: --batch X,y"):
        batch(loss, {"p": np.ones((2, 2))})
    with pytest.raises(UsageError, match="--batch names 'q'; the arrays of net are p"):
        batch(loss, {"p": np.ones((2, 2))}, ("q",))


@pytest.mark.slow
def test_the_command_names_the_loop_and_fails(run, subjects):
    status, out, _ = run("cost", f"{subjects}:python_loop")
    assert status == 1
    assert "a Python loop over samples" in out


def test_the_command_writes_its_files_and_says_how(run, here, monkeypatch):
    monkeypatch.setattr(reference, "GROWTH", {"width": [(4, 2, 2), (8, 2, 2)]})
    status, _, _ = run("cost", "--seed", "4")
    assert status == 0
    for name in ("cost.md", "cost.csv"):
        text = (here / "reports" / name).read_text()
        assert "gradverify cost --seed 4" in text
        assert "threads" in text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere.py"], "there is no file 'nowhere.py'"),
        (["--seed", "x"], "a seed is a whole number from 0 up, not 'x'"),
    ],
)
def test_bad_input_is_exit_status_2_with_one_clear_line(run, argv, said):
    status, _, err = run("cost", *argv)
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_loop_is_right_and_only_slow(subjects):
    source = {}
    exec(compile(SUBJECTS, str(subjects), "exec"), source)
    adapter = (source["forward"], source["loop"])
    gv.verify(adapter, source["primals"](np.random.default_rng(0)), level="quick").raise_for_failures()
