"""The 1/B of a mean over the batch is applied twice."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Mutated, batch_size, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("batch-mean-twice", kind="gradient", caught_by="pullback-matches-oracle", causes="double-batch-mean")
def batch_mean_twice(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient is B times too small; with a batch of one nobody can tell."""
    b = batch_size(case, upstream)
    return None if b is None else changed(gradients, lambda g: g / b)
