"""Gradients are keyed by array identity."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Bent, received
from gradverify.types import Adapter, Array, Case, Gradients, Out, Pullback


@registry.mutant("keyed-by-identity", kind="contract", caught_by="same-array-twice", causes="aliased")
def keyed_by_identity(adapter: Adapter) -> Adapter:
    """Two arguments that are one array both get the sum of their gradients, as with ``grads[id(x)] += ...``."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        given, lent = received(case)
        out, pullback = inner.vjp(lent)

        def pull(upstream: Out) -> Gradients:
            gradients = pullback(upstream)
            total: dict[int, Array] = {}
            for k, g in gradients.items():
                if g is not None:
                    total[id(given[k])] = g + total.get(id(given[k]), 0)
            return {k: None if g is None else total[id(given[k])] for k, g in gradients.items()}

        return out, pull

    return Bent(adapter, vjp)
