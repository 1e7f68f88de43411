"""The gradient is drawn anew."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Gradients, Out, Pullback


@registry.mutant("random-gradient", kind="contract", caught_by="deterministic", causes="nondeterministic")
def random_gradient(adapter: Adapter) -> Adapter:
    """A tenth of the entries is dropped at random in every backward: a dropout mask that is not kept."""
    rng = np.random.default_rng()

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        return {k: None if g is None else g * (1 + 0.1 * rng.random(g.shape)) for k, g in pullback(upstream).items()}

    return bent_pullback(adapter, pull)
