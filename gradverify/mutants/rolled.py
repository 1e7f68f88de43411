"""Shifted by one."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("rolled", kind="gradient", caught_by="pullback-matches-oracle", causes="permuted")
def rolled(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient is shifted by one along its last axis: an index that is off by one."""
    return changed(gradients, lambda g: np.roll(g, 1, axis=-1) if g.ndim and g.shape[-1] > 1 else None)
