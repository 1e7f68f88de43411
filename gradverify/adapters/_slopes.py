"""Whether an elementwise derivative takes the function's input or its output, found by trying."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.adapters._seeds import Randomness
from gradverify.types import Array

CLOSE = 1e-4  #: relative to the largest slope: differences of step 1e-5 are far better, a wrong argument far worse


def takes_output(function: Callable[[Array], Any], slope: Callable[[Array], Any], at: Array) -> bool | None:
    """True if ``slope(function(z))`` is the derivative at ``z``, False if ``slope(z)`` is, None if neither.

    Judged by central differences with step 1e-5, in float64; where both are right the answer is False.
    """
    z = np.array(at, dtype=float)
    step = 1e-5 * np.maximum(1.0, np.abs(z))
    try:
        with Randomness().forward(), np.errstate(all="ignore"):
            out = np.asarray(function(z.copy()), dtype=float)
            if out.shape != z.shape:
                return None
            moved = [np.asarray(function(z + sign * step), dtype=float) for sign in (1, -1)]
            want = (moved[0] - moved[1]) / (2 * step)
            for answer, argument in ((False, z), (True, out)):
                got = np.asarray(slope(argument.copy()), dtype=float)
                if got.shape in ((), z.shape) and np.all(np.abs(got - want) <= CLOSE * np.max(np.abs(want), initial=0)):
                    return answer
    except Exception:  # noqa: BLE001 - user code may fail in any way on an argument that it was not made for
        return None
    return None
