"""The first upstream is used for ever."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Gradients, Out, Pullback, leaves, like


@registry.mutant("first-upstream-remembered", kind="contract", caught_by="second-call-equal", causes="stale-state")
def first_upstream_remembered(adapter: Adapter) -> Adapter:
    """A pullback keeps the upstream of its first call and uses it in every later one."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        first: list[Out] = []

        def pull(upstream: Out) -> Gradients:
            first.append(like(upstream, {k: np.array(v) for k, v in leaves(upstream).items()}))
            return pullback(first[0])

        return out, pull

    return Bent(adapter, vjp)
