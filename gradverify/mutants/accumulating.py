"""Gradients add up from call to call."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Array, Case, Gradients, Out, Pullback


@registry.mutant("accumulating", kind="contract", caught_by="second-call-equal", causes="accumulated")
def accumulating(adapter: Adapter) -> Adapter:
    """Every call of the pullback adds to what the call before returned; nobody asked for it."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        total: dict[str, Array | None] = {}

        def pull(upstream: Out) -> Gradients:
            for k, g in pullback(upstream).items():
                old = total.get(k)
                total[k] = g if old is None or g is None else old + g
            return dict(total)

        return out, pull

    return Bent(adapter, vjp)
