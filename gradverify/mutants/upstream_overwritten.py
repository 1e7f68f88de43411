"""Backward writes into its upstream."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback, leaves


@registry.mutant("upstream-overwritten", kind="contract", caught_by="upstream-unchanged", causes="upstream-mutated")
def upstream_overwritten(adapter: Adapter) -> Adapter:
    """Backward halves its upstream in place after it has used it; its own gradient is right."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        gradients = {k: None if g is None else np.array(g) for k, g in pullback(upstream).items()}
        for leaf in leaves(upstream).values():
            np.multiply(leaf, 0.5, out=leaf)
        return gradients

    return bent_pullback(adapter, pull)
