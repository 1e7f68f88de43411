"""Whether an autodiff is believed: differences along a few random directions must agree with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gradverify.answers import Answer
from gradverify.directions import Direction
from gradverify.errors import AdapterError, Unsupported
from gradverify.oracles._ladder import NOTHING, Slopes
from gradverify.oracles._line import NEAR, NEAREST, Line
from gradverify.oracles.torch_autograd import CONVENTIONS, TorchAutograd
from gradverify.points import beside
from gradverify.tally import compact
from gradverify.types import rng_for

if TYPE_CHECKING:
    from gradverify.consult import Consultation

DIRECTIONS = {"quick": 1, "standard": 1, "thorough": 4}
RESOLVABLE = 256.0  #: roundings of the forward's value, per natural unit of the primals, that differences cannot see
HULL = 8.0  #: widths of the interval of the one-sided slopes that a choice at ties may be beside it
MET = 1e-7  #: of the root mean square contribution: differences this close to an autodiff have met it
ALSO = 0.37  #: of the steps of the first ladder, those of a second
CLOSER = (1e-3, 1e-6)  #: of the first steps, those of a ladder that stays beside the point
CONTRADICTS = 4.0  #: times its own error, what such a ladder must contradict the first by
MEANT = "the surrogate stops or passes gradients on purpose: judged by its autograd, which differences contradict"


def confirmed(c: Consultation, answers: Mapping[str, Answer]) -> bool:
    """False where the autodiff is not to be believed; the disagreement is then among those of the consultation."""
    if not c.allows("finite-differences"):
        return True
    named = next((a.oracle for a in answers.values()), "")
    values = {k: answers[k].estimate.value for k in c.names}
    unknown = any(answers[k].unknown for k in c.names)
    for i in range(0 if unknown else DIRECTIONS[c.level]):
        tangent = c.direction(values, f"direction/{i}")
        said, size = tangent.times(values)
        agrees, slopes = _along(c, tangent, said, size, answers)
        if agrees is None:
            continue
        if not agrees:
            if getattr(c.adapter, "declared", False) and getattr(c.adapter, "framework", "") == "torch":
                c.meant = True
                for a in answers.values():
                    a.notes.append(MEANT)
                return True
            if (
                _tie_broken(c, tangent, said)
                or _closer(c, tangent, said, slopes)
                or _right_beside(c, tangent, said, slopes)
            ):
                return True
            value, error = float(slopes.value[0]), float(slopes.error[0])
            c.disagreements.append(
                f"along a random direction {named} says {said:.9e}, finite differences {value:.9e} ± {error:.1e}"
            )
            return False
        for k in c.names:
            answers[k].oracle = f"{named}+finite-differences"
    return True


def _along(
    c: Consultation, tangent: Direction, said: float, size: float, answers: Mapping[str, Answer]
) -> tuple[bool | None, Slopes]:
    """Whether differences along a direction agree with a slope; None where they do not know."""
    # too small an error claimed here can only make them disagree: the noise is measured when they do
    rounding_only = c.forward.noise_of(c.forward.origin)
    line = Line(c.forward, tangent, rounding_only)
    for step, slope in ((NEAREST, line.one), (NEAR, lambda: line.two().value)):
        if 4 * rounding_only / step <= MET * size and abs(slope() - said) <= MET * size:
            return True, NOTHING
    known = {k: float(np.max(compact(answers[k].estimate.error), initial=0.0)) for k in c.names}
    # below this no difference of samples says anything, however well a few of them happen to agree
    slack = sum(error * tangent.length(k) for k, error in known.items()) + 1e-12 * size + RESOLVABLE * rounding_only
    slopes, agrees = NOTHING, None
    for measured in (False, True):
        if measured:
            line.floor = c.differences.noise_floor(c.forward)
        slopes = c.differences.on(line, accept=1e-7 * size)
        value, error = float(slopes.value[0]), float(slopes.error[0])
        agrees = None
        if np.isfinite(error):
            low, high = min(float(slopes.lower[0]), value - error), max(float(slopes.upper[0]), value + error)
            agrees = bool(low - slack <= said <= high + slack)
            if agrees:
                break
    return agrees, slopes


def _tie_broken(c: Consultation, tangent: Direction, said: float) -> bool:
    """Whether a second ladder, with other steps, agrees with the autodiff after all."""
    said *= ALSO
    slopes = c.differences.along(c.forward, {k: ALSO * v for k, v in tangent.items()}, accept=1e-7 * abs(said))
    error = 2 * float(slopes.error[0])
    return bool(np.isfinite(error) and abs(float(slopes.value[0]) - said) <= error + 1e-12 * abs(said))


def _closer(c: Consultation, tangent: Direction, said: float, slopes: Slopes) -> bool:
    """Whether differences much closer to the point side with the autodiff, against those that were asked first.

    A series that stands for a function near zero, and not quite as it is, has a slope of its own there: steps that
    leave it agree with each other on that of the function.
    """
    apart = abs(float(slopes.value[0]) - said)
    for by in CLOSER:
        near = c.differences.along(c.forward, {k: by * v for k, v in tangent.items()}, accept=by * apart / CONTRADICTS)
        value, error = float(near.value[0]) / by, float(near.error[0]) / by
        if error <= apart / CONTRADICTS and abs(value - said) <= error + 1e-12 * abs(said):
            return True
    return False


def _right_beside(c: Consultation, tangent: Direction, said: float, slopes: Slopes) -> bool:
    """At ties a choice for each is linear, the function is not: the autodiff is confirmed where nothing is tied.

    Its slope at the ties must be near the one-sided ones all the same; how near, other choices tell.
    """
    if c.autodiff is None or not c.autodiff.kinks or not c.traced or not slopes.kink[0]:
        return False
    low, high = min(float(slopes.lower[0]), 0.0), max(float(slopes.upper[0]), 0.0)
    margin = HULL * max(float(slopes.upper[0]) - float(slopes.lower[0]), _choices_apart(c, tangent, said))
    if not low - margin <= said <= high + margin:
        return False
    other = c.elsewhere(beside(c.case, rng_for(c.seed, c.case.name, "beside"), f"{c.case.name}, beside"))
    try:
        return other.by_autodiff() is not None and other.autodiff is not None and not other.autodiff.kinks
    except AdapterError:
        return False


def _choices_apart(c: Consultation, tangent: Direction, said: float) -> float:
    """How far the slopes of other choices at ties lie from this one: at one direction windows may cancel."""
    apart = 0.0
    for ties in CONVENTIONS:
        try:
            other = TorchAutograd().gradient(c.adapter, c.case, c.forward.out, ties=ties)
        except (Unsupported, AdapterError):
            continue
        apart = max(apart, abs(tangent.times({k: other.gradients[k].value for k in c.names})[0] - said))
    return apart
