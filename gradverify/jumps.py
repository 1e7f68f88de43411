"""Rounding told from jumps: which spreads of random runs grow with the perturbation, and which spread counts."""

from __future__ import annotations

import numpy as np

from gradverify.types import Array

GROWS = 3.0  #: a spread that is not so many times as large where the perturbation is 32 times as large is a jump


def jumps(small: Array, large: Array, floor: float, quantum: float) -> Array:
    """The entries whose spread does not grow with the perturbation.

    small, large  the largest spread of each entry over runs with small and with large perturbations
    floor         what is always allowed;  quantum: one rounding of the terms that the gradient is summed from
    """
    suspect = (small > 8 * floor + 64 * quantum) & np.any(large)
    jump: Array = suspect & (large < GROWS * small)
    if 2 * np.count_nonzero(jump) > np.count_nonzero(suspect):
        jump = suspect  # drawn numbers: a few of their spreads are larger the second time by chance
    return jump


def spread_of(small: Array, large: Array, floor: float, quantum: float) -> Array:
    """The spread that counts: entries that jump have that of the others.

    So does an entry whose few runs all came out small by chance: nothing but noise, as the gradient of a bias before a
    normalisation is, one entry in five hundred would be outside three times its own largest spread.
    """
    jump = jumps(small, large, floor, quantum)
    typical = float(np.median(small[~jump])) if not jump.all() else 0.0
    found: Array = np.where(jump, typical, np.maximum(small, typical))
    return found
