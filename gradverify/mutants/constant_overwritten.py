"""Forward writes into a constant."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Out, Pullback


@registry.mutant("constant-overwritten", kind="contract", caught_by="primals-unchanged", causes="primal-mutated")
def constant_overwritten(adapter: Adapter) -> Adapter:
    """Forward adds one to every constant array after it has used it."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        for v in case.constants.values():
            if isinstance(v, np.ndarray):
                np.add(v, 1, out=v, casting="unsafe")
        return out, pullback

    return Bent(adapter, vjp)
