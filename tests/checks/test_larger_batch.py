"""More samples than were given: what a batch of one cannot tell."""

import numpy as np
import pytest

import gradverify as gv


def test_what_only_more_samples_show_is_explained_by_their_numbers():
    x = np.random.default_rng(0).standard_normal((1, 4))
    W = np.random.default_rng(1).standard_normal((4, 3))

    def backward(upstream, cache):
        x, W = cache
        return upstream @ W.T, x.T @ upstream, upstream[0]

    report = gv.verify((lambda x, W, b: (x @ W + b, (x, W)), backward), {"x": x, "W": W, "b": np.ones(3)})
    assert report.verdict == "fail"
    assert report.causes[0] == "dropped-samples"


@pytest.mark.parametrize("power", [1, 2])
def test_the_rows_of_a_determinant_are_no_samples(power):
    def det(A):
        a, b, c = A[0], A[1], A[2]
        return (a @ np.cross(b, c)) ** power, A

    def det_back(u, A):
        cofactors = np.stack([np.cross(A[1], A[2]), np.cross(A[2], A[0]), np.cross(A[0], A[1])])
        return u * power * (A[0] @ cofactors[0]) ** (power - 1) * cofactors

    report = gv.verify((det, det_back), {"A": np.random.default_rng(0).standard_normal((3, 3))})
    assert report.verdict == "pass", str(report)
