"""A last axis of length one is dropped."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback


@registry.mutant("last-axis-squeezed", kind="contract", caught_by="size-one-axes", causes="unreduced-broadcast")
def last_axis_squeezed(adapter: Adapter) -> Adapter:
    """The last axis of every matrix gradient is dropped when its length is one: one input feature, one class."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        gradients = pullback(upstream)
        return {k: g[:, 0] if g is not None and g.ndim == 2 and g.shape[1] == 1 else g for k, g in gradients.items()}

    return bent_pullback(adapter, pull)
