"""The upstream is multiplied twice."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out, leaves


@registry.mutant("upstream-twice", kind="gradient", caught_by="pullback-matches-oracle", causes="extra-term")
def upstream_twice(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Gradients of the shape of the upstream are multiplied by it once more; with ones above nobody can tell."""
    above = next(iter(leaves(upstream).values()))
    return changed(gradients, lambda g: g * above if g.shape == np.shape(above) else None)
