"""An upstream that is written into is seen in whatever call and layout it happens."""

import numpy as np
import pytest

import gradverify as gv

RNG = np.random.default_rng(5)
POINT = {"x": RNG.standard_normal((5, 4)), "W": RNG.standard_normal((4, 3))}


def forward(x, W):
    return np.tanh(x @ W), (x, W)


def backward_with(scaled):
    def backward(dout, cache):
        x, W = cache
        dz = scaled(dout, 1 - np.tanh(x @ W) ** 2)
        return dz @ W.T, x.T @ dz

    return backward


def in_fortran_order(g, slope):
    g = np.asfortranarray(g)  # the caller's own array, if that is in Fortran order
    g *= slope
    return g


class Adding:
    """Keeps the first upstream, and adds the later ones to it."""

    def forward(self, x):
        self.x, self.total = x, None
        return np.sin(x)

    def backward(self, dout):
        if self.total is None:
            self.total = dout
            return dout * np.cos(self.x)
        self.total += dout
        return dout * np.cos(self.x)


@pytest.mark.parametrize(
    ("subject", "point"),
    [((forward, backward_with(in_fortran_order)), POINT), (Adding(), {"x": POINT["x"]})],
    ids=["only in Fortran order", "the first one at a second call"],
)
def test_an_upstream_that_is_written_into_is_named(subject, point):
    report = gv.verify(subject, point)
    assert report.verdict == "fail"
    assert report.causes == ["upstream-mutated"]


def test_a_copy_in_fortran_order_may_be_written_into():
    def copied(g, slope):
        g = np.array(g, order="F")
        g *= slope
        return g

    assert gv.verify((forward, backward_with(copied)), POINT).verdict == "pass"
