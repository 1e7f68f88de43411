"""More samples than were given: what a batch of one cannot tell."""

import numpy as np

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
