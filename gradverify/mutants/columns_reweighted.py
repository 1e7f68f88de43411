"""A factor per entry is missing."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant(
    "columns-reweighted", kind="gradient", caught_by="pullback-matches-oracle", causes="missing-activation-derivative"
)
def columns_reweighted(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """The last axis is weighted from 1 down to 1/2: an elementwise factor that one layer forgot."""
    return changed(gradients, lambda g: g * np.linspace(1.0, 0.5, g.shape[-1]) if g.ndim and g.shape[-1] > 1 else None)
