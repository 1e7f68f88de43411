"""Softmax and its logarithm. Derivation, section 'Softmax and Cross-Entropy: Combined Gradient'."""

from __future__ import annotations

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, real
from reference_impl.stable import log_probabilities


def softmax(z: ArrayLike, *, axis: int = -1) -> tuple[Array, Pullback]:
    """p_k = e^z_k / sum_j e^z_j along ``axis``, and its pullback.

    z  (..., K), any finite value: the maximum is subtracted, which changes nothing in exact arithmetic
    axis  negative, counted from the end, so that stacks may lead
    pullback(u: like z) -> (p * (u - sum_k u_k p_k),), the product with the Jacobian diag(p) - p p^T.
    Derivation, section 'Softmax and Cross-Entropy: Combined Gradient', 'Setup'.
    """
    z = _logits(z, axis)
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    p = e / e.sum(axis=axis, keepdims=True)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        u = cotangent(upstream, p)
        return (fit(p * (u - (u * p).sum(axis=axis, keepdims=True)), z),)

    return p, pullback


def log_softmax(z: ArrayLike, *, axis: int = -1) -> tuple[Array, Pullback]:
    """Logarithm of softmax, log p_k = z_k - log sum_j e^z_j along ``axis``, and its pullback.

    z  (..., K), any finite value; axis  negative
    pullback(u: like z) -> (u - p sum_k u_k,).
    Derivation, section 'Computational Efficiency'.
    """
    z = _logits(z, axis)
    log_p = log_probabilities(z, axis)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        u = cotangent(upstream, log_p)
        return (fit(u - np.exp(log_p) * u.sum(axis=axis, keepdims=True), z),)

    return log_p, pullback


def _logits(z: ArrayLike, axis: int) -> Array:
    z = real("z", z, 1, "(..., K)")
    if not -z.ndim <= axis < 0:
        raise ValueError(f"axis: {axis}, expected one of -{z.ndim} .. -1, counted from the end")
    if z.shape[axis] == 0:
        raise bad("z", z, f"at least one class along axis {axis}")
    return z
