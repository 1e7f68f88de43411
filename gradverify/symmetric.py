"""Gradients of symmetric matrices: code that reads one triangle (Cholesky, eigh) has two, and people mean the other.

The derivative by the entries as they are read is triangular. For a symmetric matrix the same change of the output is
commonly written as a symmetric gradient, with half of each off-diagonal entry in either triangle: PyTorch and JAX do.
"""

from __future__ import annotations

import numpy as np

from gradverify.types import Array, Estimate

NOTE = "the forward reads one triangle of a symmetric matrix; the gradient is shared between both"


def shared_between_triangles(primal: Array, got: Array, want: Estimate, rounding: float) -> Estimate | None:
    """The symmetric gradient that stands for a triangular one; None where that is not what is compared here.

    rounding  how far the two triangles of ``got`` may differ
    """
    if primal.ndim < 2 or primal.shape[-1] != primal.shape[-2] or primal.shape[-1] < 2:
        return None
    if not _symmetric(primal, 64 * np.finfo(primal.dtype).eps * _size(primal)) or not _symmetric(got, 2 * rounding):
        return None
    lower, upper = np.any(np.tril(want.value, -1)), np.any(np.triu(want.value, 1))
    if lower == upper or not np.all(np.isfinite(want.value)):
        return None
    error = np.broadcast_to(want.error, want.value.shape)
    return Estimate(value=_part(want.value), error=_part(error), note=want.note)


def _part(a: Array) -> Array:
    return (a + np.swapaxes(a, -1, -2)) / 2


def _symmetric(a: Array, within: float) -> bool:
    return bool(np.all(np.abs(a - np.swapaxes(a, -1, -2)) <= within))


def _size(a: Array) -> float:
    return float(np.max(np.abs(a), initial=0.0))
