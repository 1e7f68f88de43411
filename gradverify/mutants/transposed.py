"""A square gradient is transposed."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("transposed", kind="gradient", caught_by="pullback-matches-oracle", causes="transposed")
def transposed(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every square gradient is transposed: no shape check sees it, and at a symmetric point nobody does."""
    return changed(gradients, lambda g: g.T if g.ndim == 2 and g.shape[0] == g.shape[1] > 1 else None)
