"""A float32 buffer."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback


@registry.mutant("narrow-gradient", kind="contract", caught_by="dtype-preserved", causes="dtype")
def narrow_gradient(adapter: Adapter) -> Adapter:
    """Every gradient is returned in float32, whatever its primal is."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        return {k: None if g is None else g.astype(np.float32) for k, g in pullback(upstream).items()}

    return bent_pullback(adapter, pull)
