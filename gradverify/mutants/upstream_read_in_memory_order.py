"""The upstream is read as it lies in memory."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback, leaves, like


@registry.mutant("upstream-read-in-memory-order", kind="contract", caught_by="upstream-layouts", causes="layout")
def upstream_read_in_memory_order(adapter: Adapter) -> Adapter:
    """The upstream is flattened in memory order and given its shape again in C order."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        read = {k: np.asarray(v).ravel(order="K").reshape(np.shape(v)) for k, v in leaves(upstream).items()}
        return pullback(like(upstream, read))

    return bent_pullback(adapter, pull)
