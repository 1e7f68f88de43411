"""Losses. Derivation, sections 'Setup: Two-Layer Network' and 'Softmax and Cross-Entropy: Combined Gradient'.

The loss of an example is averaged over the batch (``reduction="mean"``), summed (``"sum"``), or left (``"none"``).
Samples are rows; axes in front of (B, n) are stacks, each with a loss of its own: (S, B, n) -> (S,). A one-axis
array is one example (half_squared_error, softmax_cross_entropy) or a batch of numbers (the others).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, integers, pick, real
from reference_impl.softmax import softmax
from reference_impl.stable import log1p_exp, log_probabilities, logistic


def half_squared_error(A: ArrayLike, Y: ArrayLike, *, reduction: str = "mean") -> tuple[Array, Pullback]:
    """L = 1/2 ||a - y||^2 of each example, and its pullback: dL/da = a - y.

    A, Y  (..., B, n), or (n,) for one example  ->  L  (...); with reduction="none" (..., B)
    pullback(u: like L) -> (dA, dY = -dA).
    Derivation, section 'Setup: Two-Layer Network', which calls it the mean squared error.
    """
    A, Y = _pair(A, Y, "Y")
    error = A - Y  # the text's "error at the output"
    L, spread = reduced(0.5 * (error * error).sum(axis=-1), min(1, A.ndim - 1), reduction)

    def pullback(upstream: ArrayLike) -> tuple[Array, Array]:
        d = spread(upstream)[..., None] * error
        return fit(d, A), fit(-d, Y)

    return L, pullback


def mse(A: ArrayLike, Y: ArrayLike, *, reduction: str = "mean") -> tuple[Array, Pullback]:
    """L = (a - y)^2 of each entry, averaged over all entries of the batch: dL/da = 2 (a - y) / (B n).

    A, Y  (..., B, n) or (B,)  ->  L  (...); with reduction="none" the shape of A
    pullback(u: like L) -> (dA, dY = -dA).
    The mean squared error as libraries have it; beyond the derivation, which uses ``half_squared_error``.
    """
    A, Y = _pair(A, Y, "Y")
    error = A - Y
    L, spread = reduced(error * error, min(2, error.ndim), reduction)

    def pullback(upstream: ArrayLike) -> tuple[Array, Array]:
        d = spread(upstream) * (2 * error)
        return fit(d, A), fit(-d, Y)

    return L, pullback


def huber(A: ArrayLike, Y: ArrayLike, *, delta: float = 1.0, reduction: str = "mean") -> tuple[Array, Pullback]:
    """L = e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), of each entry e = a - y; dL/da = clip(e).

    A, Y  (..., B, n) or (B,)  ->  L  (...); with reduction="none" the shape of A; delta > 0
    pullback(u: like L) -> (dA, dY = -dA).
    Beyond the derivation. Source: Huber, Robust Estimation of a Location Parameter, Ann. Math. Stat. 35 (1964).
    """
    A, Y = _pair(A, Y, "Y")
    if not delta > 0:
        raise ValueError(f"delta: {delta!r}, expected a positive number")
    delta = float(delta)
    error = A - Y
    slope = np.clip(error, -delta, delta)
    L, spread = reduced(slope * (error - 0.5 * slope), min(2, error.ndim), reduction)

    def pullback(upstream: ArrayLike) -> tuple[Array, Array]:
        d = spread(upstream) * slope
        return fit(d, A), fit(-d, Y)

    return L, pullback


def bce_with_logits(z: ArrayLike, y: ArrayLike, *, reduction: str = "mean") -> tuple[Array, Pullback]:
    """L = -y log sigma(z) - (1 - y) log(1 - sigma(z)) of each entry, from the logit z: dL/dz = sigma(z) - y.

    z  (..., B, n) or (B,), any finite value; y  same shape without stacks, labels in [0, 1], not differentiable
    ->  L  (...) in nats; with reduction="none" the shape of z.   pullback(u: like L) -> (dz, None).
    The two-class case of Derivation, section 'Softmax and Cross-Entropy: Combined Gradient'.
    """
    z, labels = _pair(z, y, "y", "z")
    labels = labels.astype(z.dtype)
    if not ((labels >= 0) & (labels <= 1)).all():
        raise ValueError(f"y: shape {labels.shape}, holds labels outside [0, 1], expected probabilities")
    L, spread = reduced(labels * log1p_exp(-z) + (1 - labels) * log1p_exp(z), min(2, z.ndim), reduction)

    def pullback(upstream: ArrayLike) -> tuple[Array, None]:
        # sigma - y, written so that nothing cancels when the prediction is nearly right
        error = (1 - labels) * logistic(z) - labels * logistic(-z)
        return fit(spread(upstream) * error, z), None

    return L, pullback


def softmax_cross_entropy(z: ArrayLike, y: ArrayLike, *, reduction: str = "mean") -> tuple[Array, Pullback]:
    """L = -z_y + log sum_j e^z_j of each example, and its pullback with the combined gradient p - y.

    z  (..., B, K) logits, any finite value, or (K,) for one example
    y  (B,) integers in [0, K), or (B, K) one-hot rows (any rows >= 0 that sum to 1); not differentiable
    ->  L  (...) in nats; with reduction="none" (..., B).   pullback(u: like L) -> (dz, None).
    Derivation, section 'Softmax and Cross-Entropy: Combined Gradient'.
    """
    z, Y = _classes(z, y)
    log_p = log_probabilities(z)
    L, spread = reduced(-np.where(Y == 0, 0, Y * log_p).sum(axis=-1), min(1, z.ndim - 1), reduction)

    def pullback(upstream: ArrayLike) -> tuple[Array, None]:
        # p - y; p - 1 = expm1(log p) does not cancel when the prediction is nearly right
        error = np.where(Y == 1, np.expm1(log_p), np.exp(log_p) - Y)
        return fit(spread(upstream)[..., None] * error, z), None

    return L, pullback


def softmax_cross_entropy_two_step(z: ArrayLike, y: ArrayLike, *, reduction: str = "mean") -> tuple[Array, Pullback]:
    """The same loss in the two naive steps p = softmax(z), L = -log p_y: to compare, not to use.

    Shapes as ``softmax_cross_entropy``. Where p_y underflows to 0 the loss is inf and the gradient NaN.
    Derivation, section 'Computational Efficiency' says why the steps should be combined.
    """
    z, Y = _classes(z, y)
    p, through_softmax = softmax(z)
    with np.errstate(divide="ignore", invalid="ignore"):
        L, spread = reduced(-np.where(Y == 0, 0, Y * np.log(p)).sum(axis=-1), min(1, z.ndim - 1), reduction)

    def pullback(upstream: ArrayLike) -> tuple[Array, None]:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            dp = -spread(upstream)[..., None] * Y / p
            return fit(through_softmax(dp)[0], z), None

    return L, pullback


def reduced(losses: Array, axes: int, reduction: str) -> tuple[Array, Callable[[ArrayLike], Array]]:
    """``losses`` reduced over its last ``axes`` axes, and the function that spreads an upstream over them again.

    Raises ValueError for an unknown reduction, and for the mean of an empty batch, which has no meaning.
    """
    pick("reduction", reduction, ("mean", "sum", "none"))
    over = tuple(range(-axes, 0))
    count = int(np.prod([losses.shape[k] for k in over]))
    if reduction == "mean" and count == 0:
        raise ValueError(f"an empty batch has no mean: losses of shape {losses.shape}, expected B >= 1")
    if reduction == "none":
        out = losses
    else:
        out = np.asarray(losses.sum(axis=over) / (count if reduction == "mean" else 1), dtype=losses.dtype)

    def spread(upstream: ArrayLike) -> Array:
        u = cotangent(upstream, out)
        if reduction == "none":
            return u
        share = u / count if reduction == "mean" else u
        return np.broadcast_to(np.expand_dims(share, over), losses.shape)

    return out, spread


#: losses that are a sum over the entries of an example and a mean over the batch: what ``network`` takes
LOSSES = {"half_squared_error": half_squared_error, "softmax_cross_entropy": softmax_cross_entropy}


def _pair(A: ArrayLike, Y: ArrayLike, name: str, first: str = "A") -> tuple[Array, Array]:
    """Prediction and target; the shapes must agree up to stacks in front."""
    A = real(first, A, 1, "(..., B, n) or (B,)")
    if np.asarray(Y).dtype.kind in "biu":  # whole-number targets take the precision of the prediction
        Y = np.asarray(Y, dtype=A.dtype)
    Y = real(name, Y, 1, f"the shape of {first}")
    own = 2 if min(A.ndim, Y.ndim) >= 2 else 1
    if A.shape[-own:] != Y.shape[-own:] or (own == 1 and A.ndim != Y.ndim):
        raise bad(name, Y, f"{A.shape[-2:]}, the shape of {first} (leading stacks aside)")
    try:
        np.broadcast_shapes(A.shape, Y.shape)
    except ValueError:
        raise bad(name, Y, f"leading axes that broadcast with {first} of shape {A.shape}") from None
    return A, Y


def _classes(z: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Logits and one-hot labels in the dtype of the logits."""
    z = real("z", z, 1, "(..., B, K) logits")
    rows, k = z.shape[-2:-1], z.shape[-1]
    if k == 0:
        raise bad("z", z, "(..., B, K) with at least one class")
    labels = np.asarray(y)
    if labels.shape == rows:
        indices = integers("y", labels, below=k)
        return z, (indices[..., None] == np.arange(k)).astype(z.dtype)
    if labels.shape != z.shape[-2:]:
        raise bad(
            "y", labels, f"{rows} integers in [0, {k}) or {z.shape[-2:]} one-hot rows to fit z of shape {z.shape}"
        )
    Y = real("y", labels).astype(z.dtype)
    if not ((Y >= 0).all() and np.allclose(Y.sum(axis=-1), 1, rtol=0, atol=1e-3)):
        raise ValueError(f"y: shape {Y.shape}, expected rows that are >= 0 and sum to 1")
    return z, Y
