"""Code that refuses in words what it was not made for returns no wrong number; an accident is no refusal."""

import numpy as np
import pytest

import gradverify as gv
from gradverify.adapters._bind import run
from gradverify.errors import AdapterError, refusal

X = np.random.default_rng(3).standard_normal((5, 4))


def found(backward, check, forward=lambda x: (np.sin(x), x), **more):
    report = gv.verify((forward, backward), {"x": X}, **more)
    return report.verdict, [f for f in report.findings if f.check == check]


def asserting(u, x):
    assert u.flags.c_contiguous, "dout must be contiguous"
    return u * np.cos(x)


def raising(u, x):
    if not u.flags["C_CONTIGUOUS"]:
        raise ValueError("dout must be contiguous")
    return u * np.cos(x)


def by_accident(u, x):
    flat = u.view()
    flat.shape = (u.size,)
    return (flat * np.cos(x).ravel()).reshape(x.shape)


@pytest.mark.parametrize("backward", [asserting, raising])
def test_a_layout_that_is_refused_in_words_is_noted(backward):
    verdict, rows = found(backward, "upstream-layouts")
    assert verdict == "pass"
    noted = [n for f in rows for n in f.notes]
    assert any("Fortran" in n and "dout must be contiguous" in n and "copy before" in n for n in noted)


def test_a_layout_at_which_numpy_raises_is_a_fail():
    verdict, rows = found(by_accident, "upstream-layouts")
    assert verdict == "fail"
    assert "layout" in {c.name for f in rows for c in f.causes}


def test_primals_whose_layout_is_refused_are_noted():
    def forward(x):
        if not x.flags.c_contiguous:
            raise ValueError("x must be contiguous")
        return np.sin(x), x

    verdict, rows = found(lambda u, x: u * np.cos(x), "primal-layouts", forward)
    assert verdict == "pass"
    assert any("x must be contiguous" in n for f in rows for n in f.notes)


def test_a_forward_that_views_its_input_is_right_wherever_it_runs():
    import torch

    class Halves(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.view(-1, 2).pow(2).sum(1)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return (2 * g[:, None] * x.reshape(-1, 2)).reshape(x.shape)

    report = gv.verify(Halves, {"x": X})
    assert report.verdict == "pass", str(report)
    assert any("the forward raises for primals in Fortran order" in n for f in report.findings for n in f.notes)


def test_a_torch_function_may_ask_for_a_contiguous_gradient():
    import torch

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.sin(x)

        @staticmethod
        def backward(ctx, g):
            assert g.is_contiguous(), "contiguous gradients only"
            return g * torch.cos(ctx.saved_tensors[0])

    class Viewing(Sine):
        @staticmethod
        def backward(ctx, g):
            x = ctx.saved_tensors[0]
            return (g.view(-1) * torch.cos(x).view(-1)).view(x.shape)

    assert gv.verify(Sine, {"x": X}).verdict == "pass"
    assert gv.verify(Viewing, {"x": X}).verdict == "fail"


@pytest.mark.parametrize("level", ["standard", "thorough"])
def test_a_batch_that_backward_refuses_in_words_is_left_alone(level):
    def backward(u, c):
        if len(c) < 2:
            raise ValueError("more than one sample is needed")
        d = 2 * u * c
        return d - d.mean(axis=0)

    verdict, rows = found(backward, "batch-one", lambda x: ((x - x.mean(axis=0)) ** 2, x - x.mean(axis=0)), level=level)
    assert verdict == "pass"
    assert any("refuses that itself: ValueError: more than one sample is needed" in f.why for f in rows)


def test_a_batch_at_which_an_assertion_about_a_shape_breaks_is_a_fail():
    def backward(u, x):
        dx = np.squeeze(u * np.cos(x))
        assert dx.shape == x.shape
        return dx

    assert found(backward, "batch-one")[0] == "fail"


def test_only_a_raise_of_the_codes_own_is_a_refusal():
    def own():
        raise ValueError("not for this")

    def numpys():
        np.linalg.inv(np.zeros((2, 2)))

    def wrapped(f):
        with pytest.raises(AdapterError) as caught:
            run("backward", f)
        return caught.value

    assert refusal(wrapped(own)) == "ValueError: not for this"
    assert refusal(wrapped(numpys)) == ""
    assert refusal(wrapped(lambda: np.zeros(3) @ np.zeros(4))) == ""
