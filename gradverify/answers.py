"""What is known of one gradient so far, and by whom."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gradverify.tally import compact
from gradverify.types import Array, Estimate


@dataclass
class Answer:
    """An estimate of one gradient, with the interval of the one-sided derivatives where there is a kink.

    lower, upper  of the estimate's shape; equal to each other where the function is smooth
    """

    estimate: Estimate
    oracle: str
    lower: Array
    upper: Array
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, estimate: Estimate, oracle: str, notes: list[str] | None = None) -> Answer:
        """What an oracle says that knows of no kink; its note comes last."""
        said = [estimate.note] if estimate.note else []
        return cls(estimate, oracle, estimate.value, estimate.value, [*(notes or []), *said])

    @property
    def unknown(self) -> bool:
        """Whether the oracle does not know some of the entries."""
        return bool(np.isnan(compact(self.estimate.error)).any())

    def ask_differences_too(self) -> str:
        """The name of the oracle once differences were asked beside it."""
        return self.oracle if "finite-differences" in self.oracle else f"{self.oracle}+finite-differences"
