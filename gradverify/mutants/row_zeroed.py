"""One row is lost."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Array, Case, Gradients, Out


@registry.mutant("row-zeroed", kind="gradient", caught_by="pullback-matches-oracle", causes="zeroed-entries")
def row_zeroed(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """The middle row of every matrix gradient is zero, as after a loop that skips an index."""
    return changed(gradients, _zeroed)


def _zeroed(g: Array) -> Array | None:
    if g.ndim < 2 or len(g) < 2:
        return None
    new = np.array(g)
    new[len(g) // 2] = 0
    return new
