"""A gradient that differs from what an oracle says, and what was found out about that so far."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradverify.answers import Answer
from gradverify.tally import Columns, any_outside, outside
from gradverify.types import Array

if TYPE_CHECKING:
    from gradverify.consult import Consultation


@dataclass
class Difference:
    """One primal's gradient against one answer; explanations replace the answer or widen the allowance.

    allowance  absolute, for the rounding of the implementation: one number, or one per entry
    """

    asked: Consultation
    name: str
    answer: Answer
    allowance: Array | float
    hopeless: bool = False  #: no rounding can be behind it, so none was measured

    @cached_property
    def gap(self) -> Array:
        """|got - want| per entry, of the answer as the oracle gave it (asked for before it is replaced)."""
        return self.now()

    @property
    def got(self) -> Array:
        """The implementation's gradient, of the primal's shape."""
        return self.asked.got[self.name]

    def remains(self, answer: Answer | None = None) -> bool:
        """Whether the gradient differs from the answer, or from another one in its place."""
        return any_outside(self._columns(answer or self.answer))

    def where(self) -> Array:
        """The entries that are neither close to the answer, nor between its bounds, or of which it does not know."""
        return outside(self._columns(self.answer)).reshape(self.answer.estimate.value.shape)

    def now(self) -> Array:
        """|got - want| per entry, of the answer as it is now."""
        apart: Array = np.abs(self.got - self.answer.estimate.value)
        return apart

    def _columns(self, answer: Answer) -> Columns:
        want = answer.estimate
        return Columns.of(self.got, want.value, want.error, self.allowance, answer.lower, answer.upper)
