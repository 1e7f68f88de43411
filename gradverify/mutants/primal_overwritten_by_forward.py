"""Forward writes into a primal."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Bent, floats, received
from gradverify.types import Adapter, Case, Out, Pullback


@registry.mutant(
    "primal-overwritten-by-forward", kind="contract", caught_by="primals-unchanged", causes="primal-mutated"
)
def primal_overwritten_by_forward(adapter: Adapter) -> Adapter:
    """Forward shifts its primals in place, as ``x -= x.max()`` does."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        given, lent = received(case)
        out, pullback = inner.vjp(lent)
        for v in floats(given):
            np.subtract(v, 1, out=v)
        return out, pullback

    return Bent(adapter, vjp)
