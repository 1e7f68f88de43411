"""Summed over the wrong axis."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("summed-over-columns", kind="gradient", caught_by="pullback-matches-oracle", causes="wrong-axis")
def summed_over_columns(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """The gradient of a vector is its mean in every entry, as after a sum over the wrong axis."""
    return changed(gradients, lambda g: np.full_like(g, np.mean(g)) if g.ndim == 1 and g.size > 1 else None)
