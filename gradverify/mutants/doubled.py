"""A forgotten 1/2."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("doubled", kind="gradient", caught_by="pullback-matches-oracle", causes="scale")
def doubled(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient is twice too large, as when the 1/2 of a half squared error is forgotten."""
    return changed(gradients, lambda g: 2 * g)
