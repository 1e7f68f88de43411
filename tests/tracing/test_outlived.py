"""Arrays that outlive their trace, in the state of the code under test, are worth their numbers."""

import numpy as np
import pytest

import gradverify as gv
from gradverify.tracing import trace

X = np.random.default_rng(0).standard_normal((3, 4))


@pytest.fixture
def kept():
    """A traced array that a forward kept, with what it should be worth; the trace has ended."""
    state = []

    def forward(x):
        state.append(x * 0.75)
        return state[-1].sum()

    trace(lambda p, c: forward(p["x"]), {"x": X}, {})
    return state[0], X * 0.75


@pytest.mark.parametrize(
    "use",
    [
        lambda a: a + 1,
        lambda a: 2 * a @ X.T,
        lambda a: a.sum(axis=0),
        lambda a: np.concatenate([a, X]),
        lambda a: np.asarray(a),
        lambda a: a.astype(int),
        lambda a: a.astype(np.float32),
        lambda a: float(a[0, 1]),
        lambda a: int(10 * a[0, 1]),
        lambda a: a.item(3),
        lambda a: a.tolist(),
        lambda a: a[a > 0],
        lambda a: np.linalg.norm(a),
        lambda a: np.maximum(a, 0, out=np.empty_like(X)),
        lambda a: np.sort(a, axis=1)[:, ::-1],
        lambda a: np.where(a > 0, a, X),
        lambda a: a.tobytes(),
        lambda a: np.float64(a[0, 0]) if a.any() else 0.0,
    ],
)
def test_what_is_computed_from_it_is_what_its_numbers_give(kept, use):
    dead, plain = kept
    got, want = use(dead), use(plain.copy())
    assert np.array_equal(np.asarray(got), np.asarray(want)) if not isinstance(want, bytes) else got == want


def test_what_is_written_into_it_stays(kept):
    dead, plain = kept
    dead *= 0.5
    dead += X
    np.copyto(dead[0], 7.0)
    plain *= 0.5
    plain += X
    plain[0] = 7.0
    dead[1, 2] = plain[1, 2] = -1.0
    assert np.array_equal(np.asarray(dead), plain)


def pile():
    """A loss whose gradients lie in a dictionary outside, and one of them is added to."""
    kept = {}

    def loss(w, b):
        r = X @ w + b
        new = {"w": X.T @ r, "b": r.sum().reshape(1)}
        if "b" in kept:
            new["b"] = new["b"] + kept["b"]
        kept.update(new)
        return 0.5 * r @ r, new

    return loss


def test_state_from_call_to_call_is_judged_though_the_trace_left_an_array_in_it():
    report = gv.verify(pile(), {"w": X[0], "b": np.array([0.3])})
    assert report.verdict == "fail"
    assert "accumulated" in report.causes


def test_no_check_is_skipped_because_code_keeps_its_last_output():
    last = {}

    def forward(x):
        last["moved"] = float(np.abs(last["y"] - x).max()) if "y" in last and last["y"].shape == x.shape else 0.0
        last["y"] = np.tanh(x)
        return last["y"].copy(), last["y"]

    report = gv.verify((forward, lambda u, y: u * (1 - y**2)), {"x": X})
    assert report.verdict == "pass"
    assert not [f.why for f in report.findings if "trace" in f.why]
