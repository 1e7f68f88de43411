"""A factor close to one."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("slightly-scaled", kind="gradient", caught_by="pullback-matches-oracle", causes="scale")
def slightly_scaled(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient is too large by one part in a thousand, as with an epsilon that only backward has."""
    return changed(gradients, lambda g: g * 1.001)
