"""A backward that clips or normalises is no derivative: declared in a sentence it passes, and nothing else does."""

import numpy as np
import pytest

import gradverify as gv

X = np.random.default_rng(0).standard_normal((4, 3))


def normalised(u, x):
    d = u * np.cos(x)
    size = np.linalg.norm(d)
    return d / max(1.0, size)


def clipped(u, x):
    return np.clip(u * np.cos(x), -0.5, 0.5)


def report(backward, **more):
    return gv.verify((lambda x: (np.sin(x), x), backward), {"x": X}, **more)


@pytest.mark.parametrize("backward", [clipped, normalised])
def test_a_bound_that_is_declared_is_noted(backward):
    found = report(backward, surrogate="bounds the gradient on purpose")
    assert not [f for f in found.findings if f.verdict == "fail"], str(found)
    assert any("declared not to be a derivative" in n for f in found.findings for n in f.notes)
    assert report(backward).verdict == "fail"


@pytest.mark.parametrize(
    "backward", [lambda u, x: np.cos(x), lambda u, x: u * u * np.cos(x), lambda u, x: u * np.cos(x) + 0.1]
)
def test_an_upstream_that_is_ignored_squared_or_added_to_fails_whatever_is_declared(backward):
    assert report(backward, surrogate="bounds the gradient on purpose").verdict == "fail"


def test_an_operation_of_torch_that_clips_is_not_asked_to_add_up():
    torch = pytest.importorskip("torch")

    class Clip(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g.clamp(-0.5, 0.5)

    found = gv.verify(Clip, {"x": X}, surrogate="clips on purpose")
    assert not [f for f in found.findings if f.verdict == "fail"], str(found)
