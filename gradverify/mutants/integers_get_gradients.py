"""A gradient for an index."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Out, Pullback, differentiable


@registry.mutant("integers-get-gradients", kind="contract", caught_by="integers-get-no-gradient", causes="extra-term")
def integers_get_gradients(adapter: Adapter) -> Adapter:
    """Every integer primal gets a gradient of ones."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        whole = {k: np.ones(v.shape) for k, v in case.primals.items() if not differentiable(v)}
        return out, lambda upstream: {**pullback(upstream), **whole}

    return Bent(adapter, vjp)
