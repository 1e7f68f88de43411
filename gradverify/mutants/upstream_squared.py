"""The upstream is used twice."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback, leaves, like


@registry.mutant("upstream-squared", kind="contract", caught_by="linear-in-upstream", causes="extra-term")
def upstream_squared(adapter: Adapter) -> Adapter:
    """Backward multiplies by the upstream twice: for ones above it is right."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        return pullback(like(upstream, {k: np.multiply(v, v) for k, v in leaves(upstream).items()}))

    return bent_pullback(adapter, pull)
