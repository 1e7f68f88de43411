"""The gradient of train mode in eval mode."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Gradients, Out, Pullback


@registry.mutant("train-formula-in-eval", kind="contract", caught_by="train-and-eval", causes="extra-term")
def train_formula_in_eval(adapter: Adapter) -> Adapter:
    """In eval mode the mean over the batch is subtracted from every gradient, as train mode does in BatchNorm."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)

        def pull(upstream: Out) -> Gradients:
            found = pullback(upstream)
            return {k: g if g is None or np.ndim(g) < 2 else g - np.mean(g, axis=0) for k, g in found.items()}

        return out, pullback if case.constants.get("training", True) else pull

    return Bent(adapter, vjp)
