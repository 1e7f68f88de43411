"""One entry is slightly wrong."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Array, Case, Gradients, Out


@registry.mutant("entry-off", kind="gradient", caught_by="pullback-matches-oracle", causes="missing-term")
def entry_off(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """One entry of every gradient is off by a thousandth of their root mean square: no training curve shows it."""
    return changed(gradients, _off)


def _off(g: Array) -> Array:
    new = np.array(g)
    new.flat[g.size // 2] += 1e-3 * np.sqrt(np.mean(np.abs(g) ** 2))
    return new
