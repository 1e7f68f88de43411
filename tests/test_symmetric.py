"""Gradients by symmetric matrices of which the forward reads one triangle."""

from __future__ import annotations

import numpy as np
import pytest

import gradverify as gv
from gradverify.explanations.symmetric import is_symmetric, over_symmetric
from gradverify.types import Estimate


@pytest.fixture
def positive(rng):
    x = rng.standard_normal((4, 4))
    return x @ x.T + 0.5 * np.eye(4)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def cholesky(a):
    lower = np.linalg.cholesky(a)
    return lower, lower


def over_symmetric_matrices(g, lower):
    p = np.tril(lower.T @ np.tril(g))
    p[np.diag_indices(len(p))] *= 0.5
    inverse = np.linalg.inv(lower)
    s = inverse.T @ p @ inverse
    return 0.5 * (s + s.T)


def by_the_triangle(g, lower):
    full = over_symmetric_matrices(g, lower)
    return np.tril(full + full.T) - np.diag(np.diag(full))


def not_symmetrised(g, lower):
    p = np.tril(lower.T @ np.tril(g))
    p[np.diag_indices(len(p))] *= 0.5
    inverse = np.linalg.inv(lower)
    return inverse.T @ p @ inverse


RIGHT = [over_symmetric_matrices, by_the_triangle]
WRONG = [
    not_symmetrised,
    lambda g, lower: np.tril(over_symmetric_matrices(g, lower)),  # a half of the off-diagonal entries is lost
    lambda g, lower: 2 * over_symmetric_matrices(g, lower),
]


@pytest.mark.parametrize("backward", RIGHT)
def test_cholesky_may_return_either_gradient(positive, backward):
    assert gv.verify((cholesky, backward), {"a": positive}).verdict == "pass"


@pytest.mark.parametrize("backward", WRONG)
def test_a_mixture_of_the_two_fails(positive, backward):
    assert gv.verify((cholesky, backward), {"a": positive}).verdict == "fail"


@pytest.mark.parametrize(("order", "verdict"), [(1, "pass"), (-1, "fail")])
def test_eigenvalues_of_an_indefinite_matrix_are_judged_at_symmetric_points(rng, order, verdict):
    a = rng.standard_normal((4, 4))

    def forward(a):
        values, vectors = np.linalg.eigh(a)
        return values, vectors

    report = gv.verify((forward, lambda g, cache: cache @ np.diag(g[::order]) @ cache.T), {"a": a + a.T})
    assert report.verdict == verdict, report


def test_a_torch_function_of_a_symmetric_matrix_agrees_with_torch(positive):
    torch = pytest.importorskip("torch")

    class Cholesky(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            lower = torch.linalg.cholesky(a)
            ctx.save_for_backward(lower)
            return lower

        @staticmethod
        def backward(ctx, g):
            (lower,) = ctx.saved_tensors
            return torch.from_numpy(over_symmetric_matrices(g.numpy(), lower.numpy()))

    report = gv.verify(Cholesky, {"a": positive})
    assert report.verdict == "pass", report
    assert "symmetric changes" in str(report)


def test_where_both_triangles_are_read_there_is_one_gradient(positive, rng):
    b = rng.standard_normal((4, 4))
    product = lambda a: (np.sum(a * b), None)  # noqa: E731  (a forward as data)
    assert gv.verify((product, lambda g, _: g * b), {"a": positive}).verdict == "pass"
    assert gv.verify((product, lambda g, _: g * (b + b.T) / 2), {"a": positive}).verdict == "fail"


def test_a_forward_that_cuts_a_triangle_of_any_matrix_has_one_gradient(rng):
    a, b = rng.standard_normal((2, 4, 4))
    lower = lambda a: (np.sum(np.tril(a) * b), None)  # noqa: E731  (a forward as data)
    sym = lambda g, _: g * (np.tril(b) + np.tril(b).T) / 2  # noqa: E731  (a backward as data)
    assert gv.verify((lower, sym), {"a": a}).verdict == "fail"


def test_only_square_symmetric_matrices_have_another_convention():
    d = Estimate(value=np.tril(np.ones((3, 3))), error=np.asarray(0.0))
    assert over_symmetric(np.arange(9.0).reshape(3, 3), d) is None
    assert np.allclose(over_symmetric(np.eye(3), d).value, 0.5 * (1 + np.eye(3)))
    assert not is_symmetric(np.ones((2, 3)))
