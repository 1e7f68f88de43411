"""Backward writes into a primal."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Bent, floats, received
from gradverify.types import Adapter, Case, Gradients, Out, Pullback


@registry.mutant(
    "primal-overwritten-by-backward", kind="contract", caught_by="primals-unchanged", causes="primal-mutated"
)
def primal_overwritten_by_backward(adapter: Adapter) -> Adapter:
    """Backward updates the primals in place after it has used them."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        given, lent = received(case)
        out, pullback = inner.vjp(lent)

        def pull(upstream: Out) -> Gradients:
            gradients = {k: None if g is None else np.array(g) for k, g in pullback(upstream).items()}
            for v in floats(given):
                np.multiply(v, 0.9, out=v)
            return gradients

        return out, pull

    return Bent(adapter, vjp)
