"""Where an iteration stops: a comparison with a small number, at one line, that comes out otherwise at last.

``while step > 1e-6`` is true, true, ..., false. A guard, ``if t < 1e-4``, is asked once, and is no iteration: which of
its branches is taken belongs to the function.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

SMALL = 1e-3  #: what is compared with less decides when an iteration stops
TIGHTER = 1e-4  #: of the tolerance of an iteration, where it is to go on
LONGER = 64  #: iterations that a tighter tolerance may cost
INSIDE = ("gradverify", "numpy", "torch", "scipy")  #: whose frames are not the user's


class Stops:
    """The comparisons of one run.

    tighter  where an iteration would stop it goes on, to less than its tolerance
    of_scalars, of_all  the largest tolerance at which an iteration stopped: compared as a scalar; as an array, too
    longer  comparisons that came out otherwise because they were tighter
    """

    def __init__(self, *, tighter: bool = False) -> None:
        self.tighter = tighter
        self.of_scalars = self.of_all = 0.0
        self.longer = 0
        self._last: dict[tuple[str, int], bool] = {}

    def compared(self, plain: Any, bound: float, again: Callable[[float], Any], *, below: bool = True) -> Any:
        """What a comparison is to answer.

        plain  what it answers; bound: the small number; below: whether it asks for less than that
        again  (factor) -> the answer for the tolerance times that
        """
        line = _line()
        done = bool(np.all(plain)) if below else not np.any(plain)
        before, self._last[line] = self._last.get(line), done
        if before is not False or not done:
            return plain
        self.of_all = max(self.of_all, bound)
        if np.ndim(plain) == 0:
            self.of_scalars = max(self.of_scalars, bound)
        if not self.tighter or self.longer >= LONGER:
            return plain
        other = again(TIGHTER)
        self.longer += not np.array_equal(other, plain)
        self._last[line] = bool(np.all(other)) if below else not np.any(other)
        return other


def _line() -> tuple[str, int]:
    """The innermost line that is the user's."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in INSIDE:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
