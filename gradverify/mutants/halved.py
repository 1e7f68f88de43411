"""A 1/2 too many."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("halved", kind="gradient", caught_by="pullback-matches-oracle", causes="scale")
def halved(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient is half of what it should be."""
    return changed(gradients, lambda g: g / 2)
