"""One NaN."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback


@registry.mutant("nan-in-a-corner", kind="contract", caught_by="finite", causes="nan-at-edge")
def nan_in_a_corner(adapter: Adapter) -> Adapter:
    """The last entry of every gradient is NaN, as 0/0 at an edge is."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        gradients = {k: None if g is None else np.array(g) for k, g in pullback(upstream).items()}
        for g in gradients.values():
            if g is not None and g.size and g.dtype.kind == "f":
                g.flat[-1] = np.nan
        return gradients

    return bent_pullback(adapter, pull)
