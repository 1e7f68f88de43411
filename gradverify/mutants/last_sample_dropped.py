"""The last sample gets nothing."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, batch_size, changed
from gradverify.types import Array, Case, Gradients, Out


@registry.mutant("last-sample-dropped", kind="gradient", caught_by="pullback-matches-oracle", causes="dropped-samples")
def last_sample_dropped(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """The last row of every gradient that runs over the batch is zero: a loop that ends one too early."""
    b = batch_size(case, upstream)
    return None if b is None else changed(gradients, lambda g: _dropped(g, b))


def _dropped(g: Array, b: int) -> Array | None:
    if g.ndim < 2 or len(g) != b:
        return None
    new = np.array(g)
    new[-1] = 0
    return new
