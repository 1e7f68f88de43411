"""Batch and layer normalisation. Derivation, section 'Vanishing Gradients', solution 3.

Both standardise, x_hat = (x - mean) / sqrt(var + eps), and then scale and shift, out = gamma x_hat + beta.
"""

from __future__ import annotations

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, leading, real


def standardise(x: ArrayLike, *, axis: int = -1, eps: float = 1e-5) -> tuple[Array, Pullback]:
    """x_hat = (x - mean) / sqrt(var + eps) along ``axis``, and its pullback. x  (..., n); var is the biased one.

    pullback(u: like x) -> ((u - mean(u) - x_hat mean(u x_hat)) / sqrt(var + eps),): the mean and the variance depend
    on every entry, so the gradient along the mean and along x_hat itself is taken out.
    Beyond the derivation; follows from the section 'The Chain Rule' (several variables).
    """
    x = real("x", x, 1, "(..., n)")
    if not -x.ndim <= axis < 0:
        raise ValueError(f"axis: {axis}, expected one of -{x.ndim} .. -1, counted from the end")
    if x.shape[axis] == 0:
        raise bad("x", x, f"at least one entry along axis {axis}, which is averaged")
    centred = x - x.mean(axis=axis, keepdims=True)
    root = np.sqrt((centred * centred).mean(axis=axis, keepdims=True) + float(eps))
    x_hat = np.asarray(centred / root)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        u = cotangent(upstream, x_hat)
        along_mean = u.mean(axis=axis, keepdims=True)
        along_x_hat = x_hat * (u * x_hat).mean(axis=axis, keepdims=True)
        return (fit((u - along_mean - along_x_hat) / root, x),)

    return x_hat, pullback


def batch_norm(X: ArrayLike, gamma: ArrayLike, beta: ArrayLike, *, eps: float = 1e-5) -> tuple[Array, Pullback]:
    """Training mode: each feature standardised over the batch. X  (..., B, n); gamma, beta  (..., n); B >= 1.

    pullback(u: like X) -> (dX, dgamma, dbeta). The running statistics for ``batch_norm_eval`` are kept apart, in
    ``batch_statistics``. Source: Ioffe and Szegedy, arXiv:1502.03167, algorithm 1.
    Derivation, section 'Vanishing Gradients', solution 3.
    """
    X, gamma, beta = _arguments(X, gamma, beta)
    if X.shape[-2] == 0:
        raise bad("X", X, "(..., B, n) with B >= 1: an empty batch has no mean")
    x_hat, through = standardise(X, axis=-2, eps=eps)
    return _scale_and_shift(X, gamma, beta, x_hat, through)


def batch_norm_eval(
    X: ArrayLike, gamma: ArrayLike, beta: ArrayLike, *, mean: ArrayLike, var: ArrayLike, eps: float = 1e-5
) -> tuple[Array, Pullback]:
    """Evaluation mode: the statistics are given, so the map is affine. X  (..., B, n); gamma, beta  (..., n).

    mean, var  (n,), constants: no gradient.   pullback(u: like X) -> (dX, dgamma, dbeta).
    Source: Ioffe and Szegedy, arXiv:1502.03167, algorithm 2. Derivation, section 'Vanishing Gradients', solution 3.
    """
    X, gamma, beta = _arguments(X, gamma, beta)
    m, v = real("mean", mean).astype(X.dtype), real("var", var).astype(X.dtype)
    for name, array in (("mean", m), ("var", v)):
        if array.shape != X.shape[-1:]:
            raise bad(name, array, f"{X.shape[-1:]} to fit X of shape {X.shape}")
    if (v < 0).any():
        raise ValueError(f"var: shape {v.shape}, holds {v.min()}, expected no negative variance")
    root = np.sqrt(v + float(eps))

    def through(u: ArrayLike) -> tuple[Array]:
        return (np.asarray(u) / root,)

    return _scale_and_shift(X, gamma, beta, (X - m) / root, through)


def layer_norm(X: ArrayLike, gamma: ArrayLike, beta: ArrayLike, *, eps: float = 1e-5) -> tuple[Array, Pullback]:
    """Each example standardised over its features. X  (..., B, n) with n >= 1; gamma, beta  (..., n).

    pullback(u: like X) -> (dX, dgamma, dbeta). Source: Ba, Kiros and Hinton, arXiv:1607.06450, section 3.
    Derivation, section 'Vanishing Gradients', solution 3, over the other axis.
    """
    X, gamma, beta = _arguments(X, gamma, beta)
    if X.shape[-1] == 0:
        raise bad("X", X, "(..., B, n) with n >= 1: no features have no mean")
    x_hat, through = standardise(X, axis=-1, eps=eps)
    return _scale_and_shift(X, gamma, beta, x_hat, through)


def batch_statistics(X: ArrayLike, mean: ArrayLike, var: ArrayLike, *, momentum: float = 0.1) -> tuple[Array, Array]:
    """The running (mean, var), both (n,), moved towards those of the batch X (B, n); no gradient flows here.

    The batch's variance is the unbiased one (B - 1), as in arXiv:1502.03167, algorithm 2; B = 1 leaves ``var``.
    """
    X, mean, var = real("X", X, 2, "(B, n)"), real("mean", mean), real("var", var)
    if X.shape[0] == 0:
        raise bad("X", X, "(B, n) with B >= 1: an empty batch has no mean")
    moved = mean + momentum * (X.mean(axis=0) - mean)
    if X.shape[0] == 1:
        return moved, var.copy()
    return moved, var + momentum * (X.var(axis=0, ddof=1) - var)


def _scale_and_shift(X: Array, gamma: Array, beta: Array, x_hat: Array, through: Pullback) -> tuple[Array, Pullback]:
    """The map gamma x_hat + beta, one gamma and beta per feature, shared by the rows."""
    g = gamma[..., None, :]
    out = np.asarray(g * x_hat + beta[..., None, :])

    def pullback(upstream: ArrayLike) -> tuple[Array, Array, Array]:
        u = cotangent(upstream, out)
        dx_hat = fit(u * g, x_hat)
        return fit(through(dx_hat)[0], X), fit((u * x_hat).sum(axis=-2), gamma), fit(u.sum(axis=-2), beta)

    return out, pullback


def _arguments(X: ArrayLike, gamma: ArrayLike, beta: ArrayLike) -> tuple[Array, Array, Array]:
    X = real("X", X, 2, "(..., B, n), samples in rows")
    gamma, beta = real("gamma", gamma, 1, "(..., n)"), real("beta", beta, 1, "(..., n)")
    for name, array in (("gamma", gamma), ("beta", beta)):
        if array.shape[-1] != X.shape[-1]:
            raise bad(name, array, f"(..., {X.shape[-1]}) to fit X of shape {X.shape}")
    leading(X=(X, 2), gamma=(gamma, 1), beta=(beta, 1))
    return X, gamma, beta
