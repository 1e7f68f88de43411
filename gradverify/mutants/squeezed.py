"""Axes of length one are dropped."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback


@registry.mutant("squeezed", kind="contract", caught_by="batch-one", causes="unreduced-broadcast")
def squeezed(adapter: Adapter) -> Adapter:
    """Every gradient goes through ``np.squeeze``: right until a batch has one sample."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        return {k: None if g is None else np.squeeze(g) for k, g in pullback(upstream).items()}

    return bent_pullback(adapter, pull)
