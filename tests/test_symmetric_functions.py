"""Gradients of functions of symmetric matrices."""

from __future__ import annotations

import numpy as np
import pytest

import gradverify as gv


@pytest.fixture
def indefinite():
    a = np.random.default_rng(2).standard_normal((4, 4))
    return a + a.T


@pytest.fixture
def definite():
    a = np.random.default_rng(1).standard_normal((4, 6))
    return a @ a.T + np.eye(4)


def cholesky(s):
    low = np.linalg.cholesky(s)
    return low, low


def cholesky_backward(dout, low):
    half = np.tril(low.T @ dout)
    half[np.diag_indices_from(half)] *= 0.5
    back = np.linalg.inv(low)
    whole = back.T @ half @ back
    return 0.5 * (whole + whole.T)


def eigenvalues(s):
    return np.linalg.eigh(s)


def eigenvalues_backward(dout, vectors):
    return (vectors * dout) @ vectors.T


def test_the_symmetric_gradient_of_a_cholesky_factor_passes_with_the_convention_named(definite):
    report = gv.verify((cholesky, cholesky_backward), {"s": definite})
    assert report.verdict == "pass"
    said = [note for f in report.findings for note in f.notes]
    assert any("the gradient is the one for symmetric changes of s" in note for note in said)


def test_the_gradient_of_the_triangle_that_is_read_passes_as_it_is(definite):
    def backward(dout, low):
        g = cholesky_backward(dout, low)
        return np.tril(2 * g) - np.diag(np.diag(g))

    report = gv.verify((cholesky, backward), {"s": definite})
    assert report.verdict == "pass"
    assert not any("symmetric changes" in note for f in report.findings for note in f.notes)


@pytest.mark.parametrize("wrong", [1.1, -1.0])
def test_a_wrong_symmetric_gradient_fails(definite, wrong):
    report = gv.verify((cholesky, lambda d, low: wrong * cholesky_backward(d, low)), {"s": definite})
    assert report.verdict == "fail"


def test_one_wrong_entry_of_a_symmetric_gradient_fails(definite):
    def backward(dout, low):
        g = cholesky_backward(dout, low)
        g[0, 1] += 1e-6
        return g

    assert gv.verify((cholesky, backward), {"s": definite}).verdict == "fail"


def test_eigenvalues_of_a_matrix_that_is_not_definite_pass(indefinite):
    assert gv.verify((eigenvalues, eigenvalues_backward), {"s": indefinite}).verdict == "pass"


def test_a_stack_of_symmetric_matrices_is_one_of_symmetric_matrices(definite):
    def backward(dout, low):
        return np.stack([cholesky_backward(d, m) for d, m in zip(dout, low, strict=True)])

    stack = np.stack([definite, definite + np.eye(4)])
    assert gv.verify((cholesky, backward), {"s": stack}).verdict == "pass"


def test_a_transpose_that_a_symmetric_point_hides_still_fails(indefinite):
    def cubed(s):
        return np.trace(s @ s @ s), s

    report = gv.verify((cubed, lambda d, s: 3 * d * s @ s), {"s": indefinite})
    assert report.verdict == "fail"


def test_an_unsymmetric_gradient_of_a_function_of_all_entries_still_fails(definite):
    def inverse(s):
        back = np.linalg.inv(s)
        return back, back

    assert gv.verify((inverse, lambda d, back: -back.T @ d.T @ back.T), {"s": definite}).verdict == "fail"


def test_other_primals_beside_a_symmetric_one_are_judged_as_ever(definite):
    def solve(s, b):
        x = np.linalg.solve(s, b)
        return x, (s, x)

    def right(dout, cache):
        s, x = cache
        db = np.linalg.solve(s, dout)
        ds = -db @ x.T
        return ds, db

    def wrong(dout, cache):
        ds, db = right(dout, cache)
        return ds, 2 * db

    point = {"s": definite, "b": np.random.default_rng(0).standard_normal((4, 3))}
    assert gv.verify((solve, right), point).verdict == "pass"
    report = gv.verify((solve, wrong), point)
    assert {f.facts["primal"] for f in report.findings if f.verdict == "fail" and "primal" in f.facts} == {"b"}


def test_torch_code_of_symmetric_matrices(definite):
    torch = pytest.importorskip("torch")

    class Eigenvalues(torch.autograd.Function):
        @staticmethod
        def forward(ctx, s):
            values, vectors = torch.linalg.eigh(s)
            ctx.save_for_backward(vectors)
            return values

        @staticmethod
        def backward(ctx, dout):
            (vectors,) = ctx.saved_tensors
            return (vectors * dout) @ vectors.T

    assert gv.verify(Eigenvalues, {"s": torch.tensor(definite)}).verdict == "pass"
