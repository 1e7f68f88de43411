"""Complex primals are pairs of reals, whoever computes with them."""

import re

import numpy as np
import pytest

import gradverify as gv


def numbers(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def product(a, w):
    return a @ w, (a, w)


def conjugated(g, cache):
    a, w = cache
    return g @ w.conj().T, a.conj().T @ g


def plain(g, cache):
    a, w = cache
    return g @ w.T, a.T @ g


@pytest.fixture
def primals(rng):
    return {"a": numbers(rng, 4, 3), "w": numbers(rng, 3, 2)}


@pytest.mark.parametrize(("backward", "said"), [(conjugated, r"dL/dRe \+ i dL/dIm"), (plain, r"dL/dRe - i dL/dIm")])
def test_either_convention_of_a_complex_gradient_passes_and_is_named(primals, backward, said):
    report = gv.verify((product, backward), primals)
    assert report.verdict == "pass"
    assert re.search(said, str(report))


def test_a_real_loss_of_complex_numbers_knows_whether_its_gradient_is_conjugated(primals):
    def power(a, w):
        return np.abs(a @ w) ** 2, (a, w)

    right = gv.verify((power, lambda g, c: conjugated(2 * g * (c[0] @ c[1]), c)), primals)
    wrong = gv.verify((power, lambda g, c: plain(2 * g * (c[0] @ c[1]), c)), primals)
    assert (right.verdict, wrong.verdict) == ("pass", "fail")


def test_an_imaginary_part_that_is_lost_is_found(primals):
    report = gv.verify((product, lambda g, c: tuple(d.real for d in conjugated(g, c))), primals)
    assert report.verdict == "fail"


def test_a_complex_array_that_backward_overwrites_is_seen(primals):
    def spoiling(g, cache):
        found = conjugated(g, cache)
        cache[0][...] = 0
        return found

    assert "primal-mutated" in gv.verify((product, spoiling), primals).causes


@pytest.mark.parametrize("factor", [1, 2])
def test_a_torch_function_of_complex_tensors_is_judged_by_autograd(rng, factor):
    torch = pytest.importorskip("torch")

    class Power(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return (z * z.conj()).real

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return factor * g * z

    report = gv.verify(Power, {"z": numbers(rng, 3, 2)})
    assert report.verdict == ("pass" if factor == 2 else "fail")
    assert any("torch-autograd" in f.oracle for f in report.findings)


def test_a_surrogate_is_given_complex_numbers_too(primals):
    def rounded(a, w):
        return np.round(a @ w), (a, w)

    assert gv.verify((rounded, conjugated), primals, surrogate=lambda a, w: a @ w).verdict == "pass"


def spectrum(x):
    return np.fft.fft(x), x.shape[-1]


@pytest.mark.parametrize(
    ("backward", "verdict"),
    [
        (lambda g, n: np.fft.ifft(g).real * n, "pass"),
        (lambda g, n: np.fft.fft(g).real, "pass"),  # the other convention: the upstream is conjugated
        (lambda g, n: np.fft.ifft(g.real).real * n, "fail"),
    ],
)
def test_complex_outputs_of_real_primals_are_pairs_and_both_parts_of_their_upstream_are_asked(rng, backward, verdict):
    assert gv.verify((spectrum, backward), {"x": rng.standard_normal((3, 8))}).verdict == verdict


@pytest.mark.parametrize(("part", "verdict"), [("both", "pass"), ("real", "fail")])
def test_a_torch_function_from_real_to_complex_numbers_is_judged_by_every_check(rng, part, verdict):
    torch = pytest.importorskip("torch")

    class Spectrum(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.fft.fft(x)

        @staticmethod
        def backward(ctx, g):
            g = g if part == "both" else g.real.to(g.dtype)
            return torch.fft.ifft(g).real * g.shape[-1]

    report = gv.verify(Spectrum, {"x": rng.standard_normal((3, 8))})
    assert report.verdict == verdict, report
    u = torch.complex(torch.ones(3, 8), torch.arange(8.0).expand(3, 8)).conj()
    assert gv.verify(Spectrum, {"x": rng.standard_normal((3, 8))}, upstream=u).verdict == verdict
