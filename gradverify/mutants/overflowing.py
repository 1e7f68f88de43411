"""One overflow."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback


@registry.mutant("overflowing", kind="contract", caught_by="finite", causes="overflow")
def overflowing(adapter: Adapter) -> Adapter:
    """The first entry of every gradient is infinite, and it is no pole: it is infinite beside that point too."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        gradients = {k: None if g is None else np.array(g) for k, g in pullback(upstream).items()}
        for g in gradients.values():
            if g is not None and g.size and g.dtype.kind == "f":
                g.flat[0] = np.inf
        return gradients

    return bent_pullback(adapter, pull)
