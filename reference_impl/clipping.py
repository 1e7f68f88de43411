"""Gradient norms and clipping. Derivation, sections 'Gradient Norm Inspection' and 'Exploding Gradients'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Pullback, cotangent, fit, real


def gradient_norm(*gradients: ArrayLike) -> float:
    """The Frobenius norm, over all entries of all arrays; the squares neither overflow nor underflow.

    Derivation, section 'Gradient Norm Inspection'.
    """
    arrays = [real("gradient", g).astype(np.float64) for g in gradients]
    largest = max((float(np.abs(g).max()) for g in arrays if g.size), default=0.0)
    if largest == 0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(sum(np.sum((g / largest) ** 2) for g in arrays)))


def clip_by_value(G: ArrayLike, *, limit: float) -> tuple[Array, Pullback]:
    """Each entry moved into [-limit, limit], and the pullback of that. G  any shape.

    pullback(u: like G) -> (u where |G| <= limit, else 0,). Derivation, section 'Exploding Gradients', solution 1.
    """
    G, limit = real("G", G), _positive("limit", limit)
    out = np.asarray(np.clip(G, -limit, limit))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, out) * (np.abs(G) <= limit), G),)

    return out, pullback


def clip_by_norm(G: ArrayLike, *, max_norm: float) -> tuple[Array, Pullback]:
    """G scaled down to the norm ``max_norm`` where it is longer, and the pullback of that. G  any shape, one vector.

    pullback(u: like G) -> (u,) inside; outside max_norm/||G|| (u - g <g, u>,) with g = G/||G||: what changes the
    length is projected out. Derivation, section 'Exploding Gradients', solution 1.
    """
    G, max_norm = real("G", G), _positive("max_norm", max_norm)
    norm = gradient_norm(G)
    inside = norm <= max_norm
    out = np.asarray(G.copy() if inside else G * (max_norm / norm))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        u = cotangent(upstream, out)
        if inside:
            return (fit(u.copy(), G),)
        direction = G / norm
        return (fit((max_norm / norm) * (u - direction * (direction * u).sum()), G),)

    return out, pullback


def clip_global_norm(gradients: Sequence[ArrayLike], max_norm: float) -> tuple[list[Array], float]:
    """All gradients scaled by one factor so that their common norm is at most ``max_norm``; and the norm before.

    Derivation, section 'Exploding Gradients', solution 1. Source: Pascanu et al., arXiv:1211.5063, algorithm 1.
    """
    max_norm = _positive("max_norm", max_norm)
    norm = gradient_norm(*gradients)
    factor = 1.0 if norm <= max_norm else max_norm / norm
    return [real("gradient", g) * factor for g in gradients], norm


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name}: {value!r}, expected a positive number")
    return float(value)
