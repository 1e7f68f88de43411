"""An empty batch gives NaN."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback, leaves


@registry.mutant("mean-over-nothing", kind="contract", caught_by="zero-batch", causes="nan-at-edge")
def mean_over_nothing(adapter: Adapter) -> Adapter:
    """Gradients are divided by the number of samples: 0/0 for an empty batch."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        n = sum(np.size(v) for v in leaves(upstream).values())
        with np.errstate(all="ignore"):
            return {k: None if g is None else g * n / np.float64(n) for k, g in pullback(upstream).items()}

    return bent_pullback(adapter, pull)
