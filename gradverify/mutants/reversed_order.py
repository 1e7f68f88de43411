"""The entries are in reverse order."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("reversed-order", kind="gradient", caught_by="pullback-matches-oracle", causes="permuted")
def reversed_order(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient is read backwards, as when time steps are collected on the way back and never turned."""
    return changed(gradients, lambda g: g.ravel()[::-1].reshape(g.shape) if g.size > 1 else None)
