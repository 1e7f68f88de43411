"""None where a derivative exists."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback


@registry.mutant("none-for-a-primal", kind="contract", caught_by="pullback-matches-oracle", causes="detached")
def none_for_a_primal(adapter: Adapter) -> Adapter:
    """Backward returns None for every differentiable primal."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        return dict.fromkeys(pullback(upstream))

    return bent_pullback(adapter, pull)
