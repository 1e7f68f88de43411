"""Rounded to single precision."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("single-precision", kind="gradient", caught_by="pullback-matches-oracle", causes="dtype")
def single_precision(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every float64 gradient is rounded to float32 and back: half its digits are gone."""
    return changed(gradients, lambda g: g.astype(np.float32).astype(np.float64) if g.dtype == np.float64 else None)
