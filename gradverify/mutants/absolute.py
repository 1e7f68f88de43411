"""Only magnitudes."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("absolute", kind="gradient", caught_by="pullback-matches-oracle", causes="wrong-mask")
def absolute(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient has lost its signs: visible unless all were positive."""
    return changed(gradients, np.abs)
