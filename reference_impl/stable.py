"""Functions that neither overflow nor cancel: plain array in, array out, same dtype, no pullback.

Far from 0, ``1 - sigma`` and ``1 - tanh^2`` lose all their digits, and ``e^z`` overflows; these forms are equal in
exact arithmetic and keep a small relative error for every finite input. Beyond the derivation, which stays on paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from reference_impl.shapes import Array

_erfc: Callable[[Array], Array] = np.vectorize(math.erfc, otypes=[np.float64])


def logistic(z: Array) -> Array:
    """The sigmoid 1 / (1 + e^-z), by e^-|z|; in place of 1 - sigmoid(z) take that of -z. z  any shape."""
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1, e) / (1 + e))


def log1p_exp(z: Array) -> Array:
    """log(1 + e^z) = max(z, 0) + log(1 + e^-|z|). z  any shape."""
    return np.asarray(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))))


def sech2(z: Array) -> Array:
    """1 - tanh^2 z = 4 / (e^z + e^-z)^2, by e^-2|z|. z  any shape."""
    e = np.exp(-2 * np.abs(z))
    return np.asarray(np.minimum(4 * e / ((1 + e) * (1 + e)), 1))  # rounding must not take it above 1


def normal_cdf(z: Array) -> Array:
    """Phi(z) = erfc(-z / sqrt 2) / 2, where 1 + erf would cancel; in float64, rounded once. z  any shape."""
    return np.asarray(0.5 * _erfc(-z.astype(np.float64) / math.sqrt(2)), dtype=z.dtype)


def log_probabilities(z: Array, axis: int = -1) -> Array:
    """Logarithm of softmax along ``axis``, accurate also where p is nearly 1: log(1 + the other terms), by log1p."""
    shifted = z - z.max(axis=axis, keepdims=True)
    e = np.exp(shifted)
    np.put_along_axis(e, z.argmax(axis=axis, keepdims=True), 0, axis=axis)  # the maximum's own term is the 1
    return np.asarray(shifted - np.log1p(e.sum(axis=axis, keepdims=True)))
