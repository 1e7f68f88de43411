"""One entry is lost."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Array, Case, Gradients, Out


@registry.mutant("entry-zeroed", kind="gradient", caught_by="pullback-matches-oracle", causes="zeroed-entries")
def entry_zeroed(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """One entry of every gradient is zero: the one of median size, so that neither end of an array hides it."""
    return changed(gradients, _zeroed)


def _zeroed(g: Array) -> Array:
    new = np.array(g)
    new.flat[int(np.argsort(np.abs(g), axis=None)[g.size // 2])] = 0
    return new
