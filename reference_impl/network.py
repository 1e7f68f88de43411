"""The general algorithm for any depth. Derivation, section 'Backpropagation: The General Algorithm'."""

# ruff: noqa: N815 (the names are those of the text)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reference_impl.activations import ACTIVATIONS, activation, value_and_derivative
from reference_impl.affine import affine
from reference_impl.losses import LOSSES, reduced
from reference_impl.shapes import Array, ArrayLike, Pullback, cotangent, fit, leading, pick, real


@dataclass(frozen=True, kw_only=True)
class Backpropagation:
    """Everything the algorithm computes; lists are indexed by layer as in the text, and index 0 is the input.

    a      a[0] = X, then a[l] (..., B, n_l) for l = 1 .. L
    z      z[l] (..., B, n_l), delta likewise: rows are the examples' delta_i, *not* divided by B; index 0 is None
    dW, db gradients of the loss, dW[l] (..., n_l, n_l-1), db[l] (..., n_l); index 0 is None
    dX, dy gradients of the loss with respect to the input (..., B, n_0) and the target; None for labels
    """

    loss: Array
    a: list[Array]
    z: list[Array | None]
    delta: list[Array | None]
    dW: list[Array | None]
    db: list[Array | None]
    dX: Array
    dy: Array | None


def backpropagation(
    X: ArrayLike,
    y: ArrayLike,
    *parameters: ArrayLike,
    activations: str | Sequence[str] = "sigmoid",
    loss: str = "half_squared_error",
    reduction: str = "mean",
) -> Backpropagation:
    """Both passes through a network of L = len(parameters) / 2 layers, every delta and gradient kept.

    X           (..., B, n_0)
    y           what the loss takes: (..., B, n_L) targets, or (B,) integer labels for softmax_cross_entropy
    parameters  W1, b1, W2, b2, ..., W_L, b_L with W_l (..., n_l, n_l-1) and b_l (..., n_l)
    activations a name for all layers, or one name per layer; before softmax_cross_entropy the last is "identity"
    reduction   "mean" over the batch, or "sum"
    Raises ValueError where shapes do not fit, a name is unknown or a batch is empty.
    Derivation, section 'The Backpropagation Algorithm'; batches as in 'Vectorization for Batches'.
    """
    L = depth(parameters)
    sigma = _per_layer(activations, L)
    pick("reduction", reduction, ("mean", "sum"))
    objective = LOSSES[pick("loss", loss, LOSSES)]

    # Forward pass
    a: list[Array] = [real("X", X, 2, "(..., B, n_0), samples in rows")]
    z: list[Array | None] = [None]
    W: list[Array] = [a[0]]  # index 0 is never used
    sigma_prime: list[Array] = []
    for layer in range(1, L + 1):
        W.append(real(f"W{layer}", parameters[2 * layer - 2]))
        b = real(f"b{layer}", parameters[2 * layer - 1])
        try:
            z_l, _ = affine(a[-1], W[layer], b)
        except ValueError as error:
            raise ValueError(f"layer {layer}: {error}") from None
        a_l, slope = value_and_derivative(sigma[layer - 1], z_l)
        z.append(z_l)
        a.append(a_l)
        sigma_prime.append(slope)
    out, target = _same_stack(a[L], y) if loss == "half_squared_error" else (a[L], y)
    losses, through_loss = objective(out, target, reduction="none")
    value, _ = reduced(losses, 1, reduction)

    # Backward pass; an upstream of ones gives dL_i/da_i, the gradient of each example's own loss, as rows
    dL_da, dL_dy = through_loss(np.ones_like(losses))
    B = a[0].shape[-2] if reduction == "mean" else 1
    delta: list[Array | None] = [None] * (L + 1)
    dW: list[Array | None] = [None] * (L + 1)
    db: list[Array | None] = [None] * (L + 1)
    for layer in range(L, 0, -1):
        delta_l = dL_da * sigma_prime[layer - 1]
        delta[layer] = delta_l
        dW[layer] = delta_l.mT @ a[layer - 1] / B
        db[layer] = delta_l.sum(axis=-2) / B
        dL_da = delta_l @ W[layer]
    dy = None if dL_dy is None else dL_dy / B
    return Backpropagation(loss=value, a=a, z=z, delta=delta, dW=dW, db=db, dX=dL_da / B, dy=dy)


def network(
    X: ArrayLike,
    y: ArrayLike,
    *parameters: ArrayLike,
    activations: str | Sequence[str] = "sigmoid",
    loss: str = "half_squared_error",
    reduction: str = "mean",
) -> tuple[Array, Pullback]:
    """The loss of a network of any depth, and its pullback. Arguments as ``backpropagation``; loss (...).

    pullback(u: like loss) -> (dX, dy, dW1, db1, ..., dW_L, db_L); dy is None for the labels of a classifier.
    Derivation, section 'The Backpropagation Algorithm'.
    """
    net = backpropagation(X, y, *parameters, activations=activations, loss=loss, reduction=reduction)
    primals = [real("parameter", p) for p in parameters]

    def pullback(upstream: ArrayLike) -> tuple[Array | None, ...]:
        u = cotangent(upstream, net.loss)[..., None]  # (..., 1): for the biases
        dX = fit(u[..., None] * net.dX, net.a[0])
        dy = None if net.dy is None else fit(u[..., None] * net.dy, real("y", y))
        gradients: list[Array | None] = [dX, dy]
        for layer, (W, b) in enumerate(zip(primals[::2], primals[1::2], strict=True), start=1):
            gradients += [fit(u[..., None] * net.dW[layer], W), fit(u * net.db[layer], b)]
        return tuple(gradients)

    return net.loss, pullback


def predict(X: ArrayLike, *parameters: ArrayLike, activations: str | Sequence[str] = "sigmoid") -> Array:
    """a^(L) of the forward pass alone. X (..., B, n_0) -> (..., B, n_L). Section 'The Backpropagation Algorithm'."""
    L = depth(parameters)
    a = real("X", X, 2, "(..., B, n_0), samples in rows")
    for layer, name in enumerate(_per_layer(activations, L)):
        a, _ = activation(name)(affine(a, parameters[2 * layer], parameters[2 * layer + 1])[0])
    return a


def depth(parameters: Sequence[ArrayLike]) -> int:
    """The number of layers L of W1, b1, ..., W_L, b_L; raises ValueError for none or an odd number of arrays."""
    if not parameters or len(parameters) % 2:
        raise ValueError(f"parameters: {len(parameters)} arrays, expected W1, b1, ..., W_L, b_L with L >= 1")
    return len(parameters) // 2


def _per_layer(activations: str | Sequence[str], L: int) -> Sequence[str]:
    names = [activations] * L if isinstance(activations, str) else list(activations)
    if len(names) != L:
        raise ValueError(f"activations: {len(names)} names, expected one or {L}, one per layer")
    return [pick("activation", name, ACTIVATIONS) for name in names]


def _same_stack(a: Array, y: ArrayLike) -> tuple[Array, Array]:
    """Outputs and targets with the same stacks in front, so that each of a stack keeps its own gradient."""
    Y = real("y", y, 2, "(..., B, n_L), samples in rows")
    stack = leading(a=(a, 2), y=(Y, 2))
    return np.broadcast_to(a, (*stack, *a.shape[-2:])), np.broadcast_to(Y, (*stack, *Y.shape[-2:]))
