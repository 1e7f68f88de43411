"""A gradient of zeros."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("gradient-lost", kind="gradient", caught_by="pullback-matches-oracle", causes="detached")
def gradient_lost(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient is zero: a severed graph, or a buffer that nobody filled."""
    return changed(gradients, np.zeros_like)
