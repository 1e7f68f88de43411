"""Residual connections. Derivation, section 'Vanishing Gradients', solution 4."""

from __future__ import annotations

from reference_impl.activations import activation
from reference_impl.affine import affine
from reference_impl.shapes import Array, ArrayLike, Function, Pullback, bad, cotangent, fit, real


def residual(branch: Function) -> Function:
    """The op out = x + branch(x, *parameters): the identity carries the gradient past the branch.

    branch  any op whose first argument x and output have one shape
    pullback(u) -> (u + the branch's gradient of x, *the branch's other gradients).
    Derivation, section 'Vanishing Gradients', solution 4. Source: He et al., arXiv:1512.03385, equation 1.
    """

    def op(x: ArrayLike, *parameters: ArrayLike) -> tuple[Array, Pullback]:
        x = real("x", x)
        y, through = branch(x, *parameters)
        if y.shape[y.ndim - x.ndim :] != x.shape:
            raise bad("branch(x)", y, f"{x.shape}, the shape of x, to be added to it")
        out = x + y

        def pullback(upstream: ArrayLike) -> tuple[Array, ...]:
            u = cotangent(upstream, out)
            dx, *others = through(u)
            return fit(fit(u, x) + dx, x), *others

        return out, pullback

    return op


def residual_block(
    X: ArrayLike, W1: ArrayLike, b1: ArrayLike, W2: ArrayLike, b2: ArrayLike, *, sigma: str = "relu"
) -> tuple[Array, Pullback]:
    """The block out = X + sigma(X W1^T + b1) W2^T + b2, and its pullback.

    X  (..., B, n); W1  (..., m, n); b1  (..., m); W2  (..., n, m); b2  (..., n)  ->  (..., B, n)
    pullback(u: like out) -> (dX, dW1, db1, dW2, db2).
    Derivation, section 'Vanishing Gradients', solution 4.
    """
    act = activation(sigma)

    def branch(X: ArrayLike, W1: ArrayLike, b1: ArrayLike, W2: ArrayLike, b2: ArrayLike) -> tuple[Array, Pullback]:
        Z1, back1 = affine(X, W1, b1)
        A1, back_act = act(Z1)
        Z2, back2 = affine(A1, W2, b2)

        def pullback(upstream: ArrayLike) -> tuple[Array, ...]:
            dA1, dW2, db2 = back2(upstream)
            dX, dW1, db1 = back1(back_act(dA1)[0])
            return dX, dW1, db1, dW2, db2

        return Z2, pullback

    return residual(branch)(X, W1, b1, W2, b2)
