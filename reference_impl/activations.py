"""Activation functions. Derivation, section 'Computing Gradients for Common Activation Functions'.

All are element-wise on an array ``z`` of any shape: ``a = sigma(z)``, ``pullback(u) -> (u * sigma'(z),)``, which is the
product with the diagonal Jacobian of section 'Jacobian Matrices'. They keep the dtype and are finite at +-1e4.
Where a formula of the text cancels (``sigma (1 - sigma)`` far from 0), an equal one from ``stable`` is used.
"""

from __future__ import annotations

import math

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Function, Pullback, cotangent, fit, pick, real
from reference_impl.stable import log1p_exp, logistic, normal_cdf, sech2


def identity(z: ArrayLike) -> tuple[Array, Pullback]:
    """sigma(z) = z, sigma' = 1: the last layer before a loss that takes logits. z  any shape. Beyond the derivation."""
    z = real("z", z)
    a = z.copy()

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, a).copy(), z),)

    return a, pullback


def relu(z: ArrayLike, *, at_zero: float = 0.0) -> tuple[Array, Pullback]:
    """sigma(z) = max(0, z), sigma'(z) = 1 for z > 0 and 0 for z < 0.

    z  any shape; at_zero  the choice of sigma'(0), usually 0 or 1: any value in [0, 1] is a subgradient.
    Derivation, section 'ReLU'.
    """
    z = real("z", z)
    if not 0 <= at_zero <= 1:
        raise ValueError(f"at_zero: {at_zero!r}, expected a number in [0, 1]")
    a = np.asarray(np.maximum(z, 0))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        slope = np.where(z > 0, 1.0, np.where(z == 0, at_zero, 0.0))
        return (fit(cotangent(upstream, a) * slope, z),)

    return a, pullback


def leaky_relu(z: ArrayLike, *, alpha: float = 0.01) -> tuple[Array, Pullback]:
    """sigma(z) = z for z > 0, else alpha z; sigma'(z) = 1 for z > 0, else alpha (at 0 too). z  any shape.

    Derivation, section 'Leaky ReLU'.
    """
    z = real("z", z)
    alpha = float(alpha)
    a = np.asarray(np.where(z > 0, z, alpha * z))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, a) * np.where(z > 0, 1.0, alpha), z),)

    return a, pullback


def sigmoid(z: ArrayLike) -> tuple[Array, Pullback]:
    """sigma(z) = 1 / (1 + e^-z), sigma' = sigma (1 - sigma) <= 1/4. z  any shape. Derivation, section 'Sigmoid'."""
    z = real("z", z)
    a = logistic(z)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        slope = a * logistic(-z)  # 1 - sigma(z) = sigma(-z), without cancellation
        return (fit(cotangent(upstream, a) * slope, z),)

    return a, pullback


def tanh(z: ArrayLike) -> tuple[Array, Pullback]:
    """sigma(z) = tanh z, sigma' = 1 - sigma^2 = 4 / (e^z + e^-z)^2 <= 1. z  any shape. Derivation, section 'Tanh'."""
    z = real("z", z)
    a = np.asarray(np.tanh(z))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, a) * sech2(z), z),)

    return a, pullback


def gelu(z: ArrayLike) -> tuple[Array, Pullback]:
    """sigma(z) = z Phi(z), Phi the normal distribution function; sigma' = Phi(z) + z phi(z). z  any shape.

    Beyond the derivation. Source: Hendrycks and Gimpel, Gaussian Error Linear Units, arXiv:1606.08415, section 2.
    """
    z = real("z", z)
    Phi = normal_cdf(z)
    a = np.asarray(z * Phi)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        far = np.clip(z, -50, 50)  # phi is 0 beyond, and the square cannot overflow
        phi = np.exp(-0.5 * far * far) / math.sqrt(2 * math.pi)
        return (fit(cotangent(upstream, a) * (Phi + far * phi), z),)

    return a, pullback


def gelu_tanh(z: ArrayLike) -> tuple[Array, Pullback]:
    """sigma(z) = z/2 (1 + tanh(c (z + 0.044715 z^3))), c = sqrt(2/pi). z  any shape.

    Beyond the derivation; the tanh approximation of gelu, arXiv:1606.08415, section 2.
    """
    z = real("z", z)
    c = math.sqrt(2 / math.pi)
    near = np.clip(z, -50, 50)  # tanh has reached +-1 long before
    inner = c * near * (1 + 0.044715 * near * near)
    half = logistic(2 * inner)  # (1 + tanh x) / 2 = sigmoid(2x), without cancellation
    a = np.asarray(z * half)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        slope = half + 0.5 * near * sech2(inner) * c * (1 + 3 * 0.044715 * near * near)
        return (fit(cotangent(upstream, a) * slope, z),)

    return a, pullback


def silu(z: ArrayLike) -> tuple[Array, Pullback]:
    """sigma(z) = z s(z) with s the sigmoid; sigma' = s(z) (1 + z s(-z)). z  any shape.

    Beyond the derivation. Source: Hendrycks and Gimpel, arXiv:1606.08415 (the name); also called swish.
    """
    z = real("z", z)
    s = logistic(z)
    a = np.asarray(z * s)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, a) * (s * (1 + z * logistic(-z))), z),)

    return a, pullback


def elu(z: ArrayLike, *, alpha: float = 1.0) -> tuple[Array, Pullback]:
    """sigma(z) = z for z > 0, else alpha (e^z - 1); sigma' = 1 or alpha e^z. z  any shape.

    Beyond the derivation. Source: Clevert, Unterthiner and Hochreiter, arXiv:1511.07289.
    """
    z = real("z", z)
    alpha = float(alpha)
    below = np.minimum(z, 0)  # the unused branch must not overflow
    a = np.asarray(np.where(z > 0, z, alpha * np.expm1(below)))

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, a) * np.where(z > 0, 1.0, alpha * np.exp(below)), z),)

    return a, pullback


def softplus(z: ArrayLike) -> tuple[Array, Pullback]:
    """sigma(z) = log(1 + e^z), whose derivative is the sigmoid. z  any shape. Beyond the derivation."""
    z = real("z", z)
    a = log1p_exp(z)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, a) * logistic(z), z),)

    return a, pullback


def mish(z: ArrayLike) -> tuple[Array, Pullback]:
    """sigma(z) = z tanh(softplus(z)). z  any shape.

    Beyond the derivation. Source: Misra, Mish, arXiv:1908.08681.
    """
    z = real("z", z)
    t = np.tanh(log1p_exp(z))
    a = np.asarray(z * t)

    def pullback(upstream: ArrayLike) -> tuple[Array]:
        return (fit(cotangent(upstream, a) * (t + z * sech2(log1p_exp(z)) * logistic(z)), z),)

    return a, pullback


#: name -> activation; ``ACTIVATIONS[name](z) -> (a, pullback)``
ACTIVATIONS: dict[str, Function] = {
    f.__name__: f
    for f in (identity, relu, leaky_relu, sigmoid, tanh, gelu, gelu_tanh, silu, elu, softplus, mish)
}  # fmt: skip


def activation(name: str) -> Function:
    """The activation called ``name``; raises ValueError naming the known ones."""
    return ACTIVATIONS[pick("activation", name, ACTIVATIONS)]


def value_and_derivative(name: str, z: ArrayLike) -> tuple[Array, Array]:
    """Both a = sigma(z) and sigma'(z), element by element, of the activation called ``name``; shapes as z."""
    a, pullback = activation(name)(z)
    return a, pullback(np.ones_like(a))[0]


def derivative(name: str, z: ArrayLike) -> Array:
    """sigma'(z), element by element, of the activation called ``name``. z  any shape -> same shape."""
    return value_and_derivative(name, z)[1]
