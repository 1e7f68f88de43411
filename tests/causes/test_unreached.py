"""What reaches nothing is not lost: samples, and single entries, that the derivative itself does not see."""

import numpy as np
import pytest

import gradverify as gv

BAG = np.array([0, 0, 0, 2, 2, 2, 2])  # no word is in bag 1 of 3
WORD = np.array([0, 2, 2, 5, 1, 0, 3])
rng = np.random.default_rng(0)


def bags(w):
    out = np.zeros((3, w.shape[1]))
    np.add.at(out, BAG, w[WORD])
    return out, w.shape


def averaged(u, shape):
    d = np.zeros(shape)
    np.add.at(d, WORD, u[BAG] / np.array([3, 1, 4])[BAG, None])
    return d


def first_bag_alone(u, shape):
    d = np.zeros(shape)
    np.add.at(d, WORD[:3], u[BAG[:3]])
    return d


def test_an_empty_bag_is_no_dropped_sample():
    report = gv.verify((bags, averaged), {"w": rng.standard_normal((6, 3))})
    assert report.verdict == "fail"
    assert "dropped-samples" not in report.causes


def test_of_a_full_and_an_empty_bag_the_full_one_is_dropped():
    report = gv.verify((bags, first_bag_alone), {"w": rng.standard_normal((6, 3))})
    assert "the upstream of samples 2 of 3 does not reach the gradient of w" in str(report)


def test_a_sum_whose_first_entry_is_zero_is_missing_as_a_whole():
    torch = pytest.importorskip("torch")
    x = torch.linspace(-3, 3, 24, dtype=torch.float64) + 0.013  # the first one is clipped

    class Quantise(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, s):
            ctx.save_for_backward(x / s)
            return (x / s).clamp(-8, 7) * s * s

        @staticmethod
        def backward(ctx, u):
            (q,) = ctx.saved_tensors
            s = x[1] / q[1]
            inside = (q >= -8) & (q <= 7)
            return u * s * inside, (u * 2 * q.clamp(-8, 7) * s).sum()

    report = gv.verify(Quantise, {"x": x, "s": torch.tensor(0.31, dtype=torch.float64)})
    assert report.causes[0] == "missing-term"
