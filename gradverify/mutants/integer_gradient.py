"""An integer buffer."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback


@registry.mutant("integer-gradient", kind="contract", caught_by="dtype-preserved", causes="dtype")
def integer_gradient(adapter: Adapter) -> Adapter:
    """Every gradient is truncated to integers, as by ``np.zeros_like`` of an integer array."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        return {k: None if g is None else g.astype(np.int64) for k, g in pullback(upstream).items()}

    return bent_pullback(adapter, pull)
