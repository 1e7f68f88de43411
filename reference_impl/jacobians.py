"""Gradients and Jacobian matrices. Derivation, sections 'Multivariable Derivatives' and 'Jacobian Matrices'."""

from __future__ import annotations

import numpy as np

from reference_impl.activations import derivative
from reference_impl.shapes import Array, ArrayLike, Function, bad, real


def gradient(f: Function, x: ArrayLike) -> Array:
    """The vector of all partial derivatives of f: R^n -> R at x, in the shape of x.

    Raises ValueError where f(x) is not a scalar. Derivation, section 'Multivariable Derivatives'.
    """
    value, pullback = f(x)
    if value.shape != ():
        raise bad("f(x)", value, "(), a scalar: a gradient is the derivative of one number")
    result: Array = pullback(1.0)[0]
    return result


def jacobian(f: Function, x: ArrayLike) -> Array:
    """J (m, n) of f: R^n -> R^m at x: row i is the pullback of the i-th unit vector.

    Raises ValueError where x or f(x) is not a vector. Derivation, section 'Jacobian Matrices'.
    """
    x = real("x", x)
    value, pullback = f(x)
    for name, array in (("x", x), ("f(x)", value)):
        if array.ndim != 1:
            raise bad(name, array, "(n,), a vector")
    rows = [pullback(unit)[0] for unit in np.eye(value.size, dtype=value.dtype)]
    return np.array(rows, dtype=x.dtype).reshape(value.size, x.size)


def jacobian_of_affine(W: ArrayLike) -> Array:
    """dz/da = W of z = W a + b. W (m, n) -> (m, n). Derivation, section 'Jacobian Matrices'."""
    W = real("W", W, 2, "(m, n)")
    return W.copy()


def jacobian_of_elementwise(sigma: str, z: ArrayLike) -> Array:
    """da/dz = diag(sigma'(z)) of a = sigma(z). z (n,) -> (n, n). Derivation, section 'Jacobian Matrices'."""
    z = real("z", z)
    if z.ndim != 1:
        raise bad("z", z, "(n,), a vector")
    return np.diag(derivative(sigma, z))


def jacobian_of_composition(*factors: ArrayLike) -> Array:
    """dy/dx = dy/df df/dx: the product of the factors, outermost first. (m, k), (k, n) -> (m, n).

    Derivation, section 'Chain Rule in Matrix Form'.
    """
    matrices = [real("factor", J, 2, "(m, n)") for J in factors]
    if not matrices:
        raise ValueError("factors: none given, expected at least one Jacobian")
    total = matrices[0].copy()
    for J in matrices[1:]:
        if total.shape[-1] != J.shape[-2]:
            raise bad("factor", J, f"({total.shape[-1]}, n) to stand right of a factor of shape {total.shape}")
        total = total @ J
    return total


def pull_back(J: ArrayLike, dL_dz: ArrayLike) -> Array:
    """dL/dx = (dz/dx)^T dL/dz. J (m, n), dL_dz (m,) -> (n,). Derivation, section 'Chain Rule in Matrix Form'."""
    J, dL_dz = real("J", J, 2, "(m, n)"), real("dL_dz", dL_dz, 1, "(m,)")
    if dL_dz.shape[-1] != J.shape[-2]:
        raise bad("dL_dz", dL_dz, f"({J.shape[-2]},) to fit J of shape {J.shape}")
    return np.asarray((J.mT @ dL_dz[..., None])[..., 0])
