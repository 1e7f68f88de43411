"""Code that rounds its arguments to single precision is constant between two numbers: small steps say nothing there."""

import numpy as np
import pytest

import gradverify as gv


class Layer:
    """As many write it: everything in float32, whatever it is given."""

    def __init__(self, rng, factor=1.0):
        self.W, self.b = rng.standard_normal((4, 3)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
        self.factor = factor

    def forward(self, x):
        self.x = x.astype(np.float32)
        return self.x @ self.W + self.b

    def backward(self, dout):
        dout = dout.astype(np.float32)
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return np.float32(self.factor) * dout @ self.W.T


class WithTanh(Layer):
    def forward(self, x):
        self.a = np.tanh(super().forward(x))
        return self.a

    def backward(self, dout):
        return super().backward(dout.astype(np.float32) * (1 - self.a**2))


def verified(kind, seed, dtype, factor=1.0, **more):
    rng = np.random.default_rng(seed)
    layer = kind(rng, factor)
    return gv.verify(layer, {"x": rng.standard_normal((5, 4)).astype(dtype)}, **more)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [Layer, WithTanh])
@pytest.mark.parametrize("seed", range(3))
def test_a_right_layer_in_single_precision_passes(kind, dtype, seed):
    assert verified(kind, seed, dtype).verdict == "pass"


@pytest.mark.parametrize("oracles", [None, ["finite-differences"]])
@pytest.mark.parametrize("kind", [Layer, WithTanh])
def test_a_wrong_one_fails(kind, oracles):
    report = verified(kind, 0, np.float32, 1.01, oracles=oracles)
    assert report.verdict == "fail"
    assert report.causes[0] == "scale"


@pytest.mark.parametrize("seed", range(3))
def test_differences_alone_claim_no_more_than_they_know(seed):
    report = verified(WithTanh, seed, np.float32, oracles=["finite-differences"])
    assert report.verdict == "pass"
