"""phi along one direction, every sample taken once: first as few as may do, more where they do not.

A number that somebody claims for the slope needs fewer samples than a slope that nobody knows: where the extrapolated
differences come out at that very number, to a few roundings of the samples, nothing is left to explain. Only where
they do not are more levels laid between the first, and only then can a kink have a say (``_ladder``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradverify.oracles._adaptive import BLOCK
from gradverify.oracles._ladder import RATIO, ROUNDING, extrapolate
from gradverify.sampling import Forward
from gradverify.types import Array

LONG = 1 / 8  #: the longest step, in natural units: many entries move together, each at random
NEAR = 1 / 512  #: where two steps are to do: what they cannot eliminate is a millionth of a millionth of the slope
HOPELESS = 100.0  #: claimed errors that a slope is off by and no finer samples will mend
NEAREST = 1 / 16384  #: where one step is to do: what it does not eliminate is a few billionths of the slope
POWERS = [2, 4, 6, 8, 10]


@dataclass(frozen=True)
class Central:
    """The slope by central differences alone: right where phi is smooth; ``error`` knows nothing of kinks.

    noise  the part of ``error`` that is rounding of the samples
    """

    value: float
    error: float
    noise: float


class Line:
    """phi(base + t * tangent) - phi(base), remembered.

    floor  absolute noise of a sample, at least
    """

    def __init__(self, forward: Forward, tangent: Mapping[str, Array], floor: float) -> None:
        self.forward, self.tangent, self.floor = forward, tangent, floor
        self._known: dict[float, tuple[float, float]] = {}

    def sample(self, _: Array, steps: Array) -> tuple[Array, Array]:
        """As ``_adaptive.Sampler``: values and rounding at one row of steps, (1, n) each."""
        asked = [float(t) for t in steps[0]]
        new = [t for t in asked if t not in self._known]
        if new:
            values, noises = self.forward.along(self.tangent, new)
            self._known |= {t: (float(v), float(n)) for t, v, n in zip(new, values, noises, strict=True)}
        value, noise = (np.array([self._known[t][i] for t in asked]) for i in range(2))
        return value[None], np.maximum(noise, self.floor)[None]

    def pairs(self) -> tuple[list[float], dict[float, Array]]:
        """The steps with a sample on either side, longest first, and those two samples of each."""
        both = sorted((t for t in self._known if t > 0 and -t in self._known), reverse=True)
        return both, {t: np.array([self._known[t][0], self._known[-t][0]]) for t in both}

    def one(self) -> float:
        """The difference quotient of one small step (two samples): to meet a number, not to find one."""
        values, _ = self.sample(np.zeros(1), np.array([[NEAREST, -NEAREST]]))
        return float(values[0, 0] - values[0, 1]) / (2 * NEAREST)

    def two(self) -> Central:
        """From two steps (four samples): good enough to meet a number, not to find one."""
        return self._central(NEAR * RATIO ** -np.arange(2.0), RATIO)

    def four(self) -> Central:
        """From the first block of the ladder (eight samples)."""
        return self._central(LONG * RATIO ** -np.arange(float(BLOCK)), RATIO)

    def eight(self) -> Central:
        """With four steps more, laid between (sixteen samples in all)."""
        return self._central(LONG * RATIO ** (-np.arange(2.0 * BLOCK) / 2.0), RATIO**0.5)

    def _central(self, steps: Array, ratio: float) -> Central:
        values, noise = self.sample(np.zeros(1), np.concatenate([steps, -steps])[None])
        n = len(steps)
        plus, minus = values[:, :n], values[:, n:]
        sigma = np.fmax(noise[:, :n], noise[:, n:])
        with np.errstate(all="ignore"):
            limit = extrapolate((plus - minus) / (2 * steps), sigma / steps / np.sqrt(2), POWERS, ratio)
        level = int(np.argmin(limit.error[0]))
        value, error, rounding = (float(column[0, level]) for column in (limit.value, limit.error, limit.noise))
        return Central(value, error, rounding)


def met(line: Line, said: float, *, slack: float = 0.0, few: bool = False) -> tuple[Central, bool]:
    """The slope as far as it takes to tell whether it is ``said``, and whether it is.

    Where the first samples come out within one rounding of ``said`` they are not asked to agree with each other.
    slack  what ``said`` may be off by its own rounding
    few    begin with four samples at small steps, which carry more rounding
    """
    for first in (line.two, line.four) if few else (line.four,):
        seen = first()
        gap = abs(seen.value - said)
        if gap <= seen.noise / ROUNDING + slack:
            return Central(said, seen.noise + max(0.0, gap - slack), seen.noise), True
        if gap > HOPELESS * seen.error:
            return seen, False
    finer = line.eight()
    return finer, abs(finer.value - said) <= finer.error + slack
