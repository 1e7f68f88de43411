"""Memory of large checks: three times that of the parameters (DESIGN, issue on speed)."""

import tracemalloc

import numpy as np
import pytest

import gradverify as gv


def wide_layer(n, m):
    rng = np.random.default_rng(0)
    W = rng.standard_normal((n, m), dtype=np.float32)
    W /= np.float32(30)
    X = rng.standard_normal((4, n)).astype(np.float32)

    def forward(W, X):
        z = np.tanh(X @ W)
        return z.sum(), (X, z)

    def backward(upstream, cache):
        X, z = cache
        return {"W": X.T @ (upstream * (1 - z * z))}

    return forward, backward, W, X


def peak_of(check):
    tracemalloc.start()
    try:
        report = check()
        return report, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_hundred_million_float32_parameters_take_three_times_their_memory():
    forward, backward, W, X = wide_layer(30, 20)
    gv.verify((forward, backward), {"W": W}, constants={"X": X})  # what is imported on the way is not counted
    forward, backward, W, X = wide_layer(10_000, 10_000)
    report, peak = peak_of(
        lambda: gv.verify((forward, backward), {"W": W}, constants={"X": X}, checks=["pullback-matches-oracle"])
    )
    assert report.verdict == "pass"
    assert peak < 3.02 * W.nbytes  # the gradient, and a float64 point beside the parameters; blocks of a direction


@pytest.mark.slow
def test_a_wrong_layer_is_seen_where_autodiff_is_not_asked_for_its_memory(monkeypatch):
    monkeypatch.setattr("gradverify.consult.LARGE_CASE", 1 << 20)
    forward, backward, W, X = wide_layer(500, 2_000)

    def doubled(upstream, cache):
        return {"W": 2 * backward(upstream, cache)["W"]}

    report = gv.verify((forward, doubled), {"W": W}, constants={"X": X}, checks=["pullback-matches-oracle"])
    assert report.verdict == "fail"
    assert any("2 times what they should be" in note for f in report.findings for note in f.notes)


@pytest.mark.slow
def test_a_large_array_that_is_written_to_behind_the_back_of_the_check_is_an_error():
    forward, backward, W, X = wide_layer(1000, 20_000)

    def stepping(upstream, cache):
        gradients = backward(upstream, cache)
        W[:] -= 0.1 * gradients["W"]
        return gradients

    with pytest.raises(gv.AdapterError, match="wrote to the array that was given as 'W'"):
        gv.verify((forward, stepping), {"W": W}, constants={"X": X}, checks=["shape"])


@pytest.mark.slow
@pytest.mark.cuda
def test_a_hundred_million_float32_parameters_are_verified_on_a_gpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    module = torch.nn.Linear(10_000, 10_000, dtype=torch.float32, device="cuda")
    x = np.random.default_rng(0).standard_normal((4, 10_000)).astype(np.float32)
    report = gv.verify(
        module, {"input": x}, device="cuda", dtype="float32", checks=["pullback-matches-oracle"], level="quick"
    )
    assert report.verdict == "pass"
