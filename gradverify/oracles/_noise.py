"""How noisy is a computed function: Hamming's difference table.

Neighbouring samples of a smooth function differ by a polynomial that a few rounds of differencing wipe out; what is
left is the noise of the evaluation - rounding inside the function, rounding of its arguments, a solver that stops
early. J. J. More and S. M. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33 (2011), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np

from gradverify.types import Array

POINTS = 8  #: samples in a table
SPACING = 1e-10  #: of the natural scale: far below any curvature, far above one rounding of the argument
BESIDE = 3e-7  #: where a table starts, in natural units


def noise_of_samples(values: Array) -> float:
    """Standard deviation of the noise in equally spaced samples (POINTS,); NaN if one is not finite.

    Column k of the difference table has variance sigma^2 (2k)!/(k!)^2 when only noise is left.
    """
    if not np.all(np.isfinite(values)):
        return float("nan")
    found = []
    column = np.asarray(values, dtype=float)
    for k in range(1, 7):
        column = np.diff(column)
        if k >= 3:
            found.append(float(np.sqrt(np.mean(column**2) / comb(2 * k, k))))
    return float(np.median(found))


def measure(phi: Callable[[Array], Array], scale: float) -> float:
    """Noise of ``phi`` (t (n,) -> values (n,)) beside t = 0, ``scale`` being the natural size of t."""
    t = scale * (BESIDE + SPACING * np.arange(POINTS))
    return noise_of_samples(phi(t))
