"""A term that no upstream multiplies."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback


@registry.mutant("offset-added", kind="contract", caught_by="linear-in-upstream", causes="extra-term")
def offset_added(adapter: Adapter) -> Adapter:
    """A hundredth is added to every gradient, as by weight decay inside the layer."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        return {k: None if g is None else g + 0.01 for k, g in pullback(upstream).items()}

    return bent_pullback(adapter, pull)
