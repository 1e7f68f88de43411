"""Two gradients are one array."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Array, Gradients, Out, Pullback


@registry.mutant("gradients-share-a-buffer", kind="contract", caught_by="no-aliasing", causes="aliased")
def gradients_share_a_buffer(adapter: Adapter) -> Adapter:
    """All gradients lie in one workspace that starts at the same address: the last one written wins."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        gradients = {k: g for k, g in pullback(upstream).items() if g is not None}
        space = np.empty(max((g.size for g in gradients.values()), default=0))
        shared: dict[str, Array | None] = {}
        for k, g in gradients.items():
            view = space[: g.size].reshape(g.shape)
            view[...] = g
            shared[k] = view
        return shared

    return bent_pullback(adapter, pull)
