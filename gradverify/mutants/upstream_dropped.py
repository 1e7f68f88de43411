"""The upstream is ignored."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback, leaves, like


@registry.mutant("upstream-dropped", kind="contract", caught_by="linear-in-upstream", causes="upstream-ignored")
def upstream_dropped(adapter: Adapter) -> Adapter:
    """Backward behaves as if its upstream were all ones."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        return pullback(like(upstream, {k: np.ones_like(v) for k, v in leaves(upstream).items()}))

    return bent_pullback(adapter, pull)
