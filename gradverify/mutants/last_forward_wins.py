"""One cache for all forwards."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Out, Pullback


@registry.mutant(
    "last-forward-wins", kind="contract", caught_by="two-forwards-before-one-backward", causes="stale-state"
)
def last_forward_wins(adapter: Adapter) -> Adapter:
    """Every pullback uses the cache of the last forward, as with a module-level variable."""
    last: list[Pullback] = []

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        last.append(pullback)
        return out, lambda upstream: last[-1](upstream)  # noqa: PLW0108  the last one at the time of the call

    return Bent(adapter, vjp)
