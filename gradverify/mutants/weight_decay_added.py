"""Weight decay in the gradient alone."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated
from gradverify.types import Case, Gradients, Out


@registry.mutant("weight-decay-added", kind="gradient", caught_by="pullback-matches-oracle", causes="extra-term")
def weight_decay_added(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """A hundredth of the primal is added to its gradient: regularisation that the forward does not have."""
    new: Mutated = {
        k: g if g is None or np.shape(g) != case.primals[k].shape else g + 0.01 * case.primals[k]
        for k, g in gradients.items()
        if k in case.primals
    }
    return new or None
