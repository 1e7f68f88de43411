"""An upstream of zeros gives NaN."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback, leaves, like


@registry.mutant("zero-upstream-divides", kind="contract", caught_by="linear-in-upstream", causes="nan-at-edge")
def zero_upstream_divides(adapter: Adapter) -> Adapter:
    """Backward multiplies and divides by its upstream: 0/0 where nothing comes from above."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        with np.errstate(all="ignore"):
            return pullback(like(upstream, {k: np.multiply(v, v) / v for k, v in leaves(upstream).items()}))

    return bent_pullback(adapter, pull)
