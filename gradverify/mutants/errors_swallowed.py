"""An error of the forward is swallowed."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Out, Pullback


@registry.mutant("errors-swallowed", kind="contract", caught_by="raises-with-forward", causes="stale-state")
def errors_swallowed(adapter: Adapter) -> Adapter:
    """Where forward raises, the output and the gradients of the last call that worked are returned."""
    last: list[tuple[Out, Pullback]] = []

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        try:
            last.append(inner.vjp(case))
        except Exception:
            if not last:
                raise
        return last[-1]

    bent = Bent(adapter, vjp)
    bent.evaluate = lambda case: adapter.vjp(case)[0]  # type: ignore[attr-defined]  # the forward alone still raises
    return bent
