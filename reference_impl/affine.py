"""The affine map of a layer. Derivation, sections 'Output Layer Gradients' and 'Vectorization for Batches'."""

from __future__ import annotations

from reference_impl.shapes import Array, ArrayLike, Pullback, bad, cotangent, fit, leading, real


def affine(A: ArrayLike, W: ArrayLike, b: ArrayLike) -> tuple[Array, Pullback]:
    """A batch in rows, Z = A W^T + 1 b^T, and its pullback.

    A  (..., B, n_in); W  (..., n_out, n_in); b  (..., n_out)  ->  Z  (..., B, n_out)
    Leading axes are stacks and broadcast: W (S, n_out, n_in) with A (B, n_in) gives Z (S, B, n_out).
    pullback(Delta: like Z) -> (dA = Delta W, dW = Delta^T A, db = sum of the rows of Delta). The mean over the
    batch is the business of the loss. B = 0 is allowed. Raises ValueError where the shapes do not fit.
    Derivation, section 'Vectorization for Batches'.
    """
    A = real("A", A, 2, "(..., B, n_in), samples in rows")
    W, b = _parameters(W, b, A.shape[-1], f"A of shape {A.shape}")
    leading(A=(A, 2), W=(W, 2), b=(b, 1))
    Z = A @ W.mT + b[..., None, :]

    def pullback(upstream: ArrayLike) -> tuple[Array, Array, Array]:
        Delta = cotangent(upstream, Z)
        return fit(Delta @ W, A), fit(Delta.mT @ A, W), fit(Delta.sum(axis=-2), b)

    return Z, pullback


def affine_example(a: ArrayLike, W: ArrayLike, b: ArrayLike) -> tuple[Array, Pullback]:
    """One example, z = W a + b, as the text writes it, and its pullback.

    a  (..., n_in); W  (..., n_out, n_in); b  (..., n_out)  ->  z  (..., n_out)
    pullback(delta: like z) -> (da = W^T delta, dW = delta a^T, db = delta).
    Derivation, sections 'Output Layer Gradients' and 'Hidden Layer Gradients'.
    """
    a = real("a", a, 1, "(..., n_in)")
    W, b = _parameters(W, b, a.shape[-1], f"a of shape {a.shape}")
    leading(a=(a, 1), W=(W, 2), b=(b, 1))
    z = (W @ a[..., None])[..., 0] + b

    def pullback(upstream: ArrayLike) -> tuple[Array, Array, Array]:
        delta = cotangent(upstream, z)
        da = (W.mT @ delta[..., None])[..., 0]
        dW = delta[..., :, None] * a[..., None, :]  # the outer product
        return fit(da, a), fit(dW, W), fit(delta.copy(), b)

    return z, pullback


def _parameters(W: ArrayLike, b: ArrayLike, n_in: int, what: str) -> tuple[Array, Array]:
    """W and b as arrays; raises ValueError unless they fit the input and each other."""
    W = real("W", W, 2, "(..., n_out, n_in)")
    b = real("b", b, 1, "(..., n_out)")
    if W.shape[-1] != n_in:
        raise bad("W", W, f"(..., n_out, {n_in}) to fit {what}")
    if b.shape[-1] != W.shape[-2]:
        raise bad("b", b, f"(..., {W.shape[-2]}) to fit W of shape {W.shape}")
    return W, b
