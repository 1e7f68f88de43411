"""An iteration that stops at a tolerance has a derivative only to about that tolerance (Gilbert 1992).

J. C. Gilbert, "Automatic differentiation and iterative processes", Optim. Methods Softw. 1 (1992): the derivative of
the iterates converges like the iterates, one factor of the number of steps behind. How far it still was from its limit
shows where the iteration goes on for longer. The backward may iterate, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradverify.errors import Unsupported
from gradverify.explanations._difference import Difference
from gradverify.oracles.torch_autograd import TorchAutograd, stops_of
from gradverify.tally import largest
from gradverify.tolerances import going_on
from gradverify.types import Array, Gradients

if TYPE_CHECKING:
    from gradverify.consult import Consultation

MOVING = 0.05  #: of the gradient, that it may still move where an iteration goes on
BEHIND = 4.0  #: times what the derivative of an iteration still moves if it goes on
STEPS_BEHIND = 10.0  #: tolerances of an iterative solver that its derivative may be off by, relative to the terms


class Iterations:
    """What is known of the iterations of one implementation, asked for once."""

    def __init__(self, asked: Consultation) -> None:
        self._asked = asked
        self._tolerance: float | None = None
        self._further: Gradients | None = None

    @property
    def tolerance(self) -> float:
        """The tolerance that an iteration inside torch code stops at, 0 where there is none."""
        if self._tolerance is None:
            self._tolerance = stops_of(self._asked.adapter, self._asked.case)
        return self._tolerance

    @property
    def further(self) -> Gradients:
        """The implementation's gradients where its iterations go on; empty where they cannot be made to."""
        if self._further is None:
            framework = getattr(self._asked.adapter, "framework", "numpy")
            self._further = going_on(self._asked.gradients, self._asked.case, framework) or {}
        return self._further


def explain(d: Difference) -> None:
    """What the derivative still moves becomes a part of the answer's error."""
    c = d.asked
    if c.autodiff is not None and c.autodiff.thresholds:
        _doubt(d, c.autodiff.stops, c.autodiff.thresholds)
    if not c.traced and d.remains() and (stops := c.iterations.tolerance):
        _doubt(d, stops, stops)


def _doubt(d: Difference, stops: float, thresholds: float) -> None:
    tolerance, size = stops or thresholds, largest(d.answer.estimate.value)
    moved, own = _moved(d), _own_moved(d)
    doubt = BEHIND * (moved or 0.0) + BEHIND * (own or 0.0)
    if moved is None:
        doubt += STEPS_BEHIND * stops * (size + d.asked.natural(d.name))
    elif own is None and moved > 0:
        doubt += STEPS_BEHIND * stops * size
    if doubt == 0:
        return
    note = f"the forward stops at a tolerance of {tolerance:g}: its derivative is known no better"
    estimate = replace(d.answer.estimate, error=d.answer.estimate.error + doubt)
    # what is known is what was measured, and is stated; a derivative that still moves by more is not known
    d.asked.stopped[d.name] = min(MOVING, max(tolerance**0.25, 1.01 * doubt / size if size else 0.0))
    d.answer = replace(d.answer, estimate=estimate, notes=[*d.answer.notes, note])


def _moved(d: Difference) -> float | None:
    """How far the answer still moves where the iteration does not stop yet; None where it cannot go on."""
    c = d.asked
    if c.autodiff is None:
        return None
    try:
        further = TorchAutograd().gradient(c.adapter, c.case, c.forward.out, tighter=True)
    except Unsupported:
        return None
    return _largest_step(further.gradients[d.name].value, d.answer.estimate.value)


def _own_moved(d: Difference) -> float | None:
    """How far the implementation's own gradient still moves; None where it cannot be made to go on."""
    further = d.asked.iterations.further.get(d.name)
    if further is None or np.shape(further) != d.got.shape:
        return None
    return _largest_step(np.asarray(further, dtype=float), d.got)


def _largest_step(to: Array, come_from: Array) -> float | None:
    moved = np.abs(to - come_from)
    return float(np.max(moved, initial=0.0)) if np.all(np.isfinite(moved)) else None
