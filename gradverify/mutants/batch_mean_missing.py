"""The 1/B of a mean over the batch is missing."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Mutated, batch_size, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant(
    "batch-mean-missing", kind="gradient", caught_by="pullback-matches-oracle", causes="missing-batch-mean"
)
def batch_mean_missing(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient is B times too large; with a batch of one nobody can tell."""
    b = batch_size(case, upstream)
    return None if b is None else changed(gradients, lambda g: g * b)
