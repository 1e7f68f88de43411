"""A derivative along a line from four samples: enough to see on which side of a cut an error lies."""

from __future__ import annotations

from collections.abc import Mapping

from gradverify.sampling import Forward
from gradverify.types import Array

STEPS = (1 / 32, 1 / 86.4)  #: in natural units, in the ladder's ratio


def rough(forward: Forward, tangent: Mapping[str, Array]) -> tuple[float, float]:
    """(derivative, error) of phi along ``tangent``: one Richardson step; the error is what that step changed."""
    values, noise = forward.along(tangent, [STEPS[0], -STEPS[0], STEPS[1], -STEPS[1]])
    wide, narrow = (values[0] - values[1]) / (2 * STEPS[0]), (values[2] - values[3]) / (2 * STEPS[1])
    ratio = (STEPS[0] / STEPS[1]) ** 2
    value = narrow + (narrow - wide) / (ratio - 1)
    return float(value), float(abs(value - narrow) + 4 * noise.max() / STEPS[1])
