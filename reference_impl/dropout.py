"""Dropout with a given mask: a function without randomness, so that its gradient can be checked."""

from __future__ import annotations

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, real


def dropout(X: ArrayLike, *, mask: ArrayLike, rate: float = 0.5) -> tuple[Array, Pullback]:
    """Entries kept, out = X mask / (1 - rate), and its pullback ("inverted" dropout: evaluation needs no factor).

    X  any shape; mask  of 0 and 1, the shape of X without stacks in front; rate in [0, 1) is the share dropped
    pullback(u: like X) -> (u mask / (1 - rate),): the very mask of the forward.
    Beyond the derivation. Source: Srivastava et al., JMLR 15 (2014).
    """
    X = real("X", X)
    kept = np.asarray(mask)
    if not 0 <= rate < 1:
        raise ValueError(f"rate: {rate!r}, expected a number in [0, 1)")
    if kept.ndim > X.ndim or X.shape[X.ndim - kept.ndim :] != kept.shape:
        raise bad("mask", kept, f"{X.shape}, the shape of X")
    if not ((kept == 0) | (kept == 1)).all():
        raise ValueError(f"mask: shape {kept.shape}, expected zeros and ones only")
    scale = (kept / (1 - rate)).astype(X.dtype)
    out = np.asarray(X * scale)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, out) * scale, X),)

    return out, pullback


def dropout_mask(shape: tuple[int, ...], rate: float, rng: np.random.Generator) -> Array:
    """A mask of booleans, each False with probability ``rate``."""
    return rng.random(shape) >= rate
