"""Scaled dot-product attention. Beyond the derivation; the softmax is that of the text."""

from __future__ import annotations

import math

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, leading, real


def attention(Q: ArrayLike, K: ArrayLike, V: ArrayLike, *, mask: ArrayLike | None = None) -> tuple[Array, Pullback]:
    """Weighted mean of values, out = softmax(Q K^T / sqrt(d)) V, and its pullback.

    Q  (..., q, d); K  (..., k, d) with k >= 1; V  (..., k, e)  ->  (..., q, e)
    mask  booleans that broadcast to (..., q, k): True where a query may look; each query needs one True
    pullback(u: like out) -> (dQ, dK, dV).
    Source: Vaswani et al., arXiv:1706.03762, equation 1; the softmax as in
    Derivation, section 'Softmax and Cross-Entropy: Combined Gradient'.
    """
    Q, K, V = (
        real(n, v, 2, s) for n, v, s in (("Q", Q, "(..., q, d)"), ("K", K, "(..., k, d)"), ("V", V, "(..., k, e)"))
    )
    if K.shape[-1] != Q.shape[-1] or K.shape[-2] == 0:
        raise bad("K", K, f"(..., k, {Q.shape[-1]}) with k >= 1 to fit Q of shape {Q.shape}")
    if V.shape[-2] != K.shape[-2]:
        raise bad("V", V, f"(..., {K.shape[-2]}, e) to fit K of shape {K.shape}")
    leading(Q=(Q, 2), K=(K, 2), V=(V, 2))
    scale = 1 / math.sqrt(max(Q.shape[-1], 1))
    S = scale * (Q @ K.mT)  # scores, (..., q, k)
    if mask is not None:
        S = np.where(_mask(mask, S), S, -np.inf)
    e = np.exp(S - S.max(axis=-1, keepdims=True))
    P = e / e.sum(axis=-1, keepdims=True)  # weights; exactly 0 where masked
    out = P @ V

    def pullback(upstream: ArrayLike) -> tuple[Array, Array, Array]:
        u = cotangent(upstream, out)
        dV = P.mT @ u
        dP = u @ V.mT
        dS = scale * P * (dP - (dP * P).sum(axis=-1, keepdims=True))
        return fit(dS @ K, Q), fit(dS.mT @ Q, K), fit(dV, V)

    return out, pullback


def _mask(mask: ArrayLike, scores: Array) -> Array:
    """The mask as booleans; raises ValueError where it does not fit or leaves a query nothing to look at."""
    look = np.asarray(mask)
    if look.dtype != np.bool_:
        raise ValueError(f"mask: dtype {look.dtype}, expected booleans, True where a query may look")
    try:
        look = np.broadcast_to(look, scores.shape)
    except ValueError:
        raise bad("mask", look, f"to broadcast with the scores {scores.shape}") from None
    if not look.any(axis=-1).all():
        raise ValueError(f"mask: shape {look.shape}, a query may look at no key, expected at least one True per row")
    return look
