"""Products and linear algebra."""

# ruff: noqa: D103, PLW0108 - functions with NumPy's own names and signatures, not all of whose options have a meaning here
from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from gradverify.tracing.array import array, dtype_of, leave, tensor, wrap
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.tables import implements, table


def product(f: Any) -> Any:
    """A NumPy function of two arrays from a function of two tensors."""
    return lambda a, b, **_: wrap(f(tensor(a), tensor(b)), dtype_of(a, b))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """np.dot: the last axis of ``a`` with the last but one of ``b``."""
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.ndim <= 2 and b.ndim <= 2:
        return torch.matmul(a, b)
    return torch.tensordot(a, b, dims=([a.ndim - 1], [max(b.ndim - 2, 0)]))


def inner(a: Tensor, b: Tensor) -> Tensor:
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return torch.tensordot(a, b, dims=([a.ndim - 1], [b.ndim - 1]))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    if not isinstance(axes, (int, np.integer)):
        left, right = axes
        axes = (
            [int(k) % np.ndim(a) for k in np.ravel(left)],
            [int(k) % np.ndim(b) for k in np.ravel(right)],
        )
    return wrap(torch.tensordot(tensor(a), tensor(b), dims=axes), dtype_of(a, b))


def einsum(*operands: Any, optimize: Any = False, dtype: Any = None, order: Any = "K", casting: Any = "safe") -> Any:
    """Both call forms: a string, or operands with lists of labels."""
    if isinstance(operands[0], str):
        arrays = operands[1:]
        return wrap(torch.einsum(operands[0].replace(" ", ""), *map(tensor, arrays)), dtype_of(*arrays))
    arrays = operands[: len(operands) // 2 * 2 : 2]
    parts = [x if k % 2 or k == len(operands) - 1 else tensor(x) for k, x in enumerate(operands)]
    if len(operands) % 2 == 0:
        parts = [x if k % 2 else tensor(x) for k, x in enumerate(operands)]
    return wrap(torch.einsum(*parts), dtype_of(*arrays))


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    return np.sum(np.diagonal(array(a), offset, axis1, axis2), axis=-1)


def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return trace(x, offset, -2, -1)


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """Of vectors of three components."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(array(a), axisa, -1), np.moveaxis(array(b), axisb, -1)
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        leave("np.cross of vectors that have not three components")
    (a0, a1, a2), (b0, b1, b2) = ([v[..., k] for k in range(3)] for v in (a, b))
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=axisc)


def solve(a: Any, b: Any) -> Any:
    """Since NumPy 2, ``b`` is a vector only if it is 1-d."""
    left, right = tensor(a), tensor(b)
    if right.ndim == 1:
        return wrap(torch.linalg.solve(left, right[:, None])[..., 0], dtype_of(a, b))
    return wrap(torch.linalg.solve(left, right), dtype_of(a, b))


def same_gauge(ours: Tensor, theirs: Any, axis: int) -> Tensor:
    """Signs of singular or eigenvectors as NumPy has them, per vector; they are constants of the derivative."""
    other = tensor(theirs)
    sign = torch.sign((ours.detach() * other).sum(axis, keepdim=True))
    return ours * torch.where(sign == 0, 1.0, sign)


def eigh(a: Any, UPLO: str = "L") -> Any:
    values, vectors = torch.linalg.eigh(tensor(a), UPLO=UPLO)
    plain: Any = np.linalg.eigh(array(a).value, UPLO="U" if UPLO in "Uu" else "L")
    return type(plain)(wrap(values, dtype_of(a)), wrap(same_gauge(vectors, plain[1], -2), dtype_of(a)))


def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return wrap(torch.linalg.eigvalsh(tensor(a), UPLO=UPLO), dtype_of(a))


def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Thin, or of a square matrix: the null space has no derivative."""
    t = tensor(a)
    if not compute_uv:
        return wrap(torch.linalg.svdvals(t), dtype_of(a))
    if full_matrices and t.shape[-1] != t.shape[-2]:
        leave("np.linalg.svd with full_matrices=True")
    plain: Any = np.linalg.svd(array(a).value, full_matrices=False)
    u, s, vh = torch.linalg.svd(t, full_matrices=False)
    sign = torch.sign((u.detach() * tensor(plain[0])).sum(-2))
    u, vh = u * sign[..., None, :], vh * sign[..., :, None]
    return type(plain)(wrap(u, dtype_of(a)), wrap(s, dtype_of(a)), wrap(vh, dtype_of(a)))


def qr(a: Any, mode: str = "reduced") -> Any:
    if mode != "reduced":
        leave(f"np.linalg.qr with mode={mode!r}")
    plain: Any = np.linalg.qr(array(a).value)
    q, r = torch.linalg.qr(tensor(a))
    sign = torch.sign((q.detach() * tensor(plain[0])).sum(-2))
    return type(plain)(wrap(q * sign[..., None, :], dtype_of(a)), wrap(r * sign[..., :, None], dtype_of(a)))


def slogdet(a: Any) -> Any:
    plain = np.linalg.slogdet(array(a).value)
    return type(plain)(plain[0], wrap(torch.linalg.slogdet(tensor(a))[1], dtype_of(a)))


def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """NumPy reads the lower triangle only; so does the derivative."""
    t = tensor(a)
    lower = torch.tril(t)
    factor = torch.linalg.cholesky(lower + torch.tril(t, -1).mT)
    return wrap(factor.mT if upper else factor, dtype_of(a))


def matrix_power(a: Any, n: int) -> Any:
    base = np.linalg.inv(array(a)) if n < 0 else array(a)
    if n == 0:
        return np.broadcast_to(np.eye(base.shape[-1]), base.shape).copy()
    return reduce(np.matmul, [base] * abs(n))


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    if rcond is not None or (rtol is not None and rtol is not np._NoValue):
        leave("np.linalg.pinv with rcond=")
    return wrap(torch.linalg.pinv(tensor(a)), dtype_of(a))


@implements("linalg.lstsq")
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    return leave("np.linalg.lstsq is not traced")


table({
    "dot": product(dot),
    "inner": product(inner),
    "outer": product(lambda a, b: a.reshape(-1, 1) * b.reshape(1, -1)),
    "linalg.outer": product(lambda a, b: a[:, None] * b[None, :]),
    "vdot": product(lambda a, b: (a.reshape(-1) * b.reshape(-1)).sum()),
    "kron": product(lambda a, b: torch.kron(a.contiguous(), b.contiguous())),
    "linalg.matmul": product(lambda a, b: torch.matmul(a, b)),
    "linalg.vecdot": lambda a, b, axis=-1: np.sum(a * b, axis=axis),
    "tensordot": tensordot,
    "linalg.tensordot": lambda a, b, axes=2: tensordot(a, b, axes),
    "einsum": einsum,
    "trace": trace,
    "linalg.trace": linalg_trace,
    "cross": cross,
    "linalg.cross": lambda a, b, axis=-1: cross(a, b, axis=axis),
    "linalg.inv": lambda a: wrap(torch.linalg.inv(tensor(a)), dtype_of(a)),
    "linalg.solve": solve,
    "linalg.det": lambda a: wrap(torch.linalg.det(tensor(a)), dtype_of(a)),
    "linalg.slogdet": slogdet,
    "linalg.cholesky": cholesky,
    "linalg.eigh": eigh,
    "linalg.eigvalsh": eigvalsh,
    "linalg.svd": svd,
    "linalg.svdvals": lambda x: wrap(torch.linalg.svdvals(tensor(x)), dtype_of(x)),
    "linalg.qr": qr,
    "linalg.pinv": pinv,
    "linalg.matrix_power": matrix_power,
    "linalg.multi_dot": lambda arrays, out=None: reduce(np.dot, arrays),
})  # fmt: skip
