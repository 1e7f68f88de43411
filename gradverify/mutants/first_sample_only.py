"""Only the first sample counts."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback, leaves, like


@registry.mutant("first-sample-only", kind="contract", caught_by="larger-batch", causes="dropped-samples")
def first_sample_only(adapter: Adapter) -> Adapter:
    """The upstream of the first sample is used, ``delta[0]``: with one sample that is all of it."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        first = {k: np.array(v) for k, v in leaves(upstream).items()}
        for v in first.values():
            if v.ndim:
                v[1:] = 0
        return pullback(like(upstream, first))

    return bent_pullback(adapter, pull)
