"""Initial weights scaled so that gradients neither vanish nor explode. Derivation, section 'Vanishing Gradients'."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from reference_impl.shapes import Array, pick


def xavier(n_out: int, n_in: int, rng: np.random.Generator, *, distribution: str = "normal") -> Array:
    """W (n_out, n_in) of variance 2 / (n_in + n_out): keeps a and delta in scale where sigma'(0) = 1 (tanh).

    Derivation, section 'Vanishing Gradients', solution 2. Source: Glorot and Bengio, AISTATS 2010, equation 16.
    """
    return _draw(n_out, n_in, 2 / (n_in + n_out), rng, distribution)


def he(n_out: int, n_in: int, rng: np.random.Generator, *, distribution: str = "normal") -> Array:
    """W (n_out, n_in) of variance 2 / n_in: relu passes half of its inputs, which the factor 2 makes good.

    Derivation, section 'Vanishing Gradients', solution 2. Source: He et al., arXiv:1502.01852.
    """
    return _draw(n_out, n_in, 2 / n_in, rng, distribution)


def _draw(n_out: int, n_in: int, variance: float, rng: np.random.Generator, distribution: str) -> Array:
    pick("distribution", distribution, ("normal", "uniform"))
    if distribution == "normal":
        return rng.normal(0.0, math.sqrt(variance), (n_out, n_in))
    bound = math.sqrt(3 * variance)  # uniform on [-r, r] has variance r^2 / 3
    return rng.uniform(-bound, bound, (n_out, n_in))


INITIALISATIONS: dict[str, Callable[..., Array]] = {"xavier": xavier, "he": he}


def initial_parameters(
    sizes: Sequence[int], rng: np.random.Generator, *, method: str = "he", distribution: str = "normal"
) -> list[Array]:
    """W1, b1, ..., W_L, b_L for layers of ``sizes`` n_0, n_1, ..., n_L; biases are zero.

    Raises ValueError for fewer than two sizes, a size below 1, or an unknown method.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(f"sizes: {tuple(sizes)}, expected n_0, n_1, ..., n_L, at least two, each >= 1")
    draw = INITIALISATIONS[pick("initialisation", method, INITIALISATIONS)]
    parameters: list[Array] = []
    for n_in, n_out in itertools.pairwise(sizes):
        parameters += [draw(n_out, n_in, rng, distribution=distribution), np.zeros(n_out)]
    return parameters
