"""The upstream is not multiplied."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out, leaves


@registry.mutant(
    "upstream-divided-out", kind="gradient", caught_by="pullback-matches-oracle", causes="upstream-ignored"
)
def upstream_divided_out(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Gradients of the shape of the upstream are those for an upstream of ones: with ones above nobody can tell."""
    above = np.asarray(next(iter(leaves(upstream).values())))
    if not above.size or np.any(above == 0):
        return None
    return changed(gradients, lambda g: g / above if g.shape == above.shape else None)
