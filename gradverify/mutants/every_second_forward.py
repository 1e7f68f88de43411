"""Every second forward is wrong."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Gradients, Out, Pullback


@registry.mutant("every-second-forward", kind="contract", caught_by="deterministic", causes="accumulated")
def every_second_forward(adapter: Adapter) -> Adapter:
    """Gradients of every second forward are doubled: two buffers used in turn, of which one is never cleared."""
    runs: list[int] = []

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        runs.append(1)
        factor = 1.0 + len(runs) % 2

        def pull(upstream: Out) -> Gradients:
            return {k: None if g is None else g * factor for k, g in pullback(upstream).items()}

        return out, pull

    return Bent(adapter, vjp)
