"""Symmetric matrices of which the forward reads one triangle: a gradient by entries, and one shared between both."""

import numpy as np

from tests.corpus._items import item, twins


def _positive(rng, n=4):
    a = rng.standard_normal((n, n))
    return a @ a.T + n * np.eye(n)


def _cholesky(A):
    L = np.linalg.cholesky(A)
    return L, L


def _cholesky_back(d, L, halved=True):
    P = np.tril(L.T @ np.tril(d))
    if halved:
        P[np.diag_indices_from(P)] *= 0.5
    inverse = np.linalg.inv(L)
    S = inverse.T @ P @ inverse
    return (S + S.T) / 2


def _as_read(symmetric):
    """The gradient by the entries of the lower triangle, which alone are read."""
    return 2 * np.tril(symmetric) - np.diag(np.diag(symmetric))


@item("cholesky_as_read", why="numpy reads the lower triangle: the gradient by its entries")
def cholesky_as_read(rng):
    return (_cholesky, lambda d, L: _as_read(_cholesky_back(d, L))), {"A": _positive(rng)}


@twins(
    "cholesky_shared",
    why="the gradient as PyTorch and JAX give it, half of each off-diagonal entry in either triangle",
    bugs={
        "diagonal": "the diagonal of Phi is not halved",
        "doubled": "off-diagonal entries are counted twice in both triangles",
        "entry": "one pair of entries is off by 2e-5",
    },
    truth="reason: the symmetric gradient of Murray (2016): its inner product with dA is the derivative",
)
def cholesky_shared(rng, bug):
    def backward(d, L):
        g = _cholesky_back(d, L, halved=bug != "diagonal")
        if bug == "doubled":
            g = 2 * g - np.diag(np.diag(g))
        if bug == "entry":
            g[2, 0] *= 1 + 2e-5
            g[0, 2] = g[2, 0]
        return g

    return (_cholesky, backward), {"A": _positive(rng)}


@twins(
    "eigenvalues_shared",
    why="d lambda = v' dA v for eigh, which reads one triangle",
    bugs={"largest": "the largest eigenvalue's vector serves all"},
    truth="reason: the symmetric gradient, as in cholesky_shared",
)
def eigenvalues_shared(rng, bug):
    def forward(A):
        return np.linalg.eigh(A)

    def backward(d, V):
        V = np.repeat(V[:, -1:], len(V), axis=1) if bug else V
        return (V * d) @ V.T

    return (forward, backward), {"A": _positive(rng)}


@item("symmetric_part_of_a_full_gradient", expect="fail", why="the forward reads both triangles: its gradient is B",
      twin="symmetric.full_gradient", causes=("transposed",))  # fmt: skip
def symmetric_part(rng):
    B = rng.standard_normal((4, 4))
    return (lambda A: (np.sum(A * B), B), lambda d, B: d * (B + B.T) / 2), {"A": _positive(rng)}


@item("full_gradient", why="a linear function of a symmetric matrix, read in full")
def full_gradient(rng):
    B = rng.standard_normal((4, 4))
    return (lambda A: (np.sum(A * B), B), lambda d, B: d * B), {"A": _positive(rng)}
