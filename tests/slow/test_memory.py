"""Memory of large checks. DESIGN asks for three times the parameters; what is reached is kept from growing."""

import tracemalloc

import numpy as np
import pytest

import gradverify as gv


@pytest.mark.slow
def test_ten_million_float32_parameters_stay_within_a_fixed_multiple_of_their_memory():
    rng = np.random.default_rng(0)
    W = (rng.standard_normal((1000, 10_000)) / 30).astype(np.float32)
    X = rng.standard_normal((4, 1000)).astype(np.float32)

    def forward(W, X):
        z = np.tanh(X @ W)
        return z.sum(), (X, z)

    def backward(upstream, cache):
        X, z = cache
        return {"W": X.T @ (upstream * (1 - z * z))}

    tracemalloc.start()
    report = gv.verify(
        (forward, backward), {"W": W}, constants={"X": X}, checks=["pullback-matches-oracle"],
        oracles=["finite-differences"], level="quick",
    )  # fmt: skip
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.verdict == "pass"
    assert peak < 24 * W.nbytes  # float64 copies of W: 2 each; the primal, its scales, the direction, the moved point


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
