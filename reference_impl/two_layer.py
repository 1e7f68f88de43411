"""The two-layer network of the text, step by step. Derivation, section 'Gradient Computation for Simple Networks'.

``two_layer_example`` follows one example with column vectors, exactly as the text writes it; ``two_layer_batch`` does
the same for a batch in rows; ``two_layer`` is the batch as an op ``(L, pullback)``.
"""

# ruff: noqa: N815 (the names are those of the text)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_impl.activations import value_and_derivative
from reference_impl.affine import affine, affine_example
from reference_impl.losses import half_squared_error
from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, real


@dataclass(frozen=True, kw_only=True)
class TwoLayer:
    """Every intermediate of the two passes by its name in the text.

    one example: z1, a1, delta1 (n1,), z2, a2, delta2 (n2,), L ()
    a batch:     z1, a1, delta1 (B, n1), z2, a2, delta2 (B, n2): the rows are the examples' vectors, *not* divided
                 by B; L and the gradients dW1 (n1, n0), db1 (n1,), dW2 (n2, n1), db2 (n2,) are means over the batch
    """

    z1: Array
    a1: Array
    z2: Array
    a2: Array
    L: Array
    dL_da2: Array
    delta2: Array
    dW2: Array
    db2: Array
    dL_da1: Array
    delta1: Array
    dW1: Array
    db1: Array


def two_layer_example(
    x: ArrayLike, y: ArrayLike, W1: ArrayLike, b1: ArrayLike, W2: ArrayLike, b2: ArrayLike, *, sigma: str = "sigmoid"
) -> TwoLayer:
    """One example: x (n0,), y (n2,), W1 (n1, n0), b1 (n1,), W2 (n2, n1), b2 (n2,).

    Derivation, section 'Summary of the Two-Layer Derivation'.
    """
    x, y, W2 = real("x", x), real("y", y), real("W2", W2)
    if x.ndim != 1:
        raise bad("x", x, "(n0,), one example; two_layer_batch takes a batch")

    # Forward pass
    z1, _ = affine_example(x, W1, b1)
    a1, sigma_prime_z1 = value_and_derivative(sigma, z1)
    z2, _ = affine_example(a1, W2, b2)
    a2, sigma_prime_z2 = value_and_derivative(sigma, z2)
    L, _ = half_squared_error(a2, y)

    # Backward pass
    dL_da2 = a2 - y
    delta2 = dL_da2 * sigma_prime_z2
    dW2 = np.outer(delta2, a1)
    db2 = delta2.copy()
    dL_da1 = W2.T @ delta2
    delta1 = dL_da1 * sigma_prime_z1
    dW1 = np.outer(delta1, x)
    db1 = delta1.copy()
    return TwoLayer(z1=z1, a1=a1, z2=z2, a2=a2, L=L, dL_da2=dL_da2, delta2=delta2, dW2=dW2, db2=db2,
                    dL_da1=dL_da1, delta1=delta1, dW1=dW1, db1=db1)  # fmt: skip


def two_layer_batch(
    X: ArrayLike, Y: ArrayLike, W1: ArrayLike, b1: ArrayLike, W2: ArrayLike, b2: ArrayLike, *, sigma: str = "sigmoid"
) -> TwoLayer:
    """A batch in rows: X (..., B, n0), Y (..., B, n2); parameters as for one example, stacks in front allowed.

    Derivation, section 'Vectorization for Batches': the gradients are (1/B) Delta^T A, the mean over the batch.
    """
    X, Y, W2 = real("X", X, 2, "(..., B, n0)"), real("Y", Y, 2, "(..., B, n2)"), real("W2", W2)

    # Forward pass
    z1, _ = affine(X, W1, b1)
    a1, sigma_prime_z1 = value_and_derivative(sigma, z1)
    z2, _ = affine(a1, W2, b2)
    a2, sigma_prime_z2 = value_and_derivative(sigma, z2)
    L, _ = half_squared_error(a2, Y)

    # Backward pass
    B = X.shape[-2]
    dL_da2 = a2 - Y
    delta2 = dL_da2 * sigma_prime_z2
    dW2 = delta2.mT @ a1 / B
    db2 = delta2.sum(axis=-2) / B
    dL_da1 = delta2 @ W2
    delta1 = dL_da1 * sigma_prime_z1
    dW1 = delta1.mT @ X / B
    db1 = delta1.sum(axis=-2) / B
    return TwoLayer(z1=z1, a1=a1, z2=z2, a2=a2, L=L, dL_da2=dL_da2, delta2=delta2, dW2=dW2, db2=db2,
                    dL_da1=dL_da1, delta1=delta1, dW1=dW1, db1=db1)  # fmt: skip


def two_layer(
    X: ArrayLike, Y: ArrayLike, W1: ArrayLike, b1: ArrayLike, W2: ArrayLike, b2: ArrayLike, *, sigma: str = "sigmoid"
) -> tuple[Array, Pullback]:
    """The mean half squared error of the two-layer network, and its pullback.

    Shapes as ``two_layer_batch``; L (...).   pullback(u: like L) -> (dX, dY, dW1, db1, dW2, db2).
    Derivation, section 'Summary of the Two-Layer Derivation'.
    """
    net = two_layer_batch(X, Y, W1, b1, W2, b2, sigma=sigma)
    X, Y, W1, b1, W2, b2 = (
        real(k, v) for k, v in zip(("X", "Y", "W1", "b1", "W2", "b2"), (X, Y, W1, b1, W2, b2), strict=True)
    )
    B = X.shape[-2]

    def pullback(upstream: ArrayLike) -> tuple[Array, ...]:
        u = cotangent(upstream, net.L)[..., None]  # (..., 1): for the biases
        uu = u[..., None]  # (..., 1, 1): for the matrices
        dX = uu * (net.delta1 @ W1 / B)
        dY = -uu * (net.dL_da2 / B)
        return (fit(dX, X), fit(dY, Y), fit(uu * net.dW1, W1), fit(u * net.db1, b1), fit(uu * net.dW2, W2),
                fit(u * net.db2, b2))  # fmt: skip

    return net.L, pullback
