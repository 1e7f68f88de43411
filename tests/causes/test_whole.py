"""From the public door: the first cause of a wrong backward, and the line of the user's that its evidence names."""

import numpy as np
import pytest

import gradverify as gv

RNG = np.random.default_rng(31)
X, H, W, V = (RNG.standard_normal(s) for s in ((5, 3), (5, 4), (3, 4), (4, 4)))


def forward(x, w, v):
    h = np.tanh(x @ w)
    return np.tanh(h @ v), (x, w, v, h, np.tanh(h @ v))


def backward(bug):
    def pull(g, cache):
        x, w, v, h, out = cache
        delta = g if bug == "last slope" else g * (1 - out**2)
        below = delta @ (v if bug == "v" else v.T)
        slope = 1 - out**2 if bug == "layer" else 1 - np.tanh(h) ** 2 if bug == "point" else 1 - h**2
        d = below * slope
        return d @ w.T, (x.T @ d if bug != "one sample" else np.outer(x[-1], d[-1])), h.T @ delta

    return pull


@pytest.mark.parametrize(
    ("bug", "cause", "line"),
    [
        ("last slope", "missing-activation-derivative", "return np.tanh(h @ v)"),
        ("v", "transposed", "return np.tanh(h @ v)"),
        ("layer", "off-by-one-layer", "h = np.tanh(x @ w)"),
        ("point", "derivative-of-activation-not-preactivation", "h = np.tanh(x @ w)"),
        ("one sample", "dropped-samples", "h = np.tanh(x @ w)"),
    ],
)
def test_the_first_cause_and_its_line(bug, cause, line):
    report = gv.verify((forward, backward(bug)), {"x": X, "w": W, "v": V}, seed=1)
    assert report.verdict == "fail"
    assert report.causes[0] == cause
    found = [c for f in report.findings for c in f.causes if c.name == cause]
    assert line in found[0].evidence


def test_a_right_backward_has_no_cause():
    assert gv.verify((forward, backward("")), {"x": X, "w": W, "v": V}, seed=1).causes == []


def test_a_doubled_gradient_of_two_samples_is_a_matter_of_scale():
    pair = (lambda x: (np.sin(x), x), lambda g, x: 2 * g * np.cos(x))
    assert gv.verify(pair, {"x": X[:2]}, seed=1).causes[0] == "scale"


class SamplesInColumns:
    """A network in the shape of a well-known course: features by samples, and the targets given to backward."""

    def __init__(self):
        self.W, self.b = W.T.copy(), H[0, :, None].copy()

    def forward(self, X):
        self.A = np.tanh(self.W @ X + self.b)
        return self.A

    def compute_loss(self, A, Y):
        return 0.5 * np.sum((A - Y) ** 2) / Y.shape[1]

    def backward(self, X, Y):
        d = (self.A - Y) * (1 - self.A**2)
        self.dW, self.db = d @ X.T / X.shape[1], d.sum(axis=1, keepdims=True)


def test_a_mean_over_samples_in_columns_that_is_missing_is_a_batch_mean():
    report = gv.verify(SamplesInColumns(), {"X": X.T}, constants={"Y": H.T})
    assert report.causes == ["missing-batch-mean"]
    assert "the last axis of" in str(report)
