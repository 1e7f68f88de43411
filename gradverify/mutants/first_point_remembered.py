"""The first point of every shape is remembered."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Out, Pullback


@registry.mutant("first-point-remembered", kind="contract", caught_by="second-point", causes="stale-state")
def first_point_remembered(adapter: Adapter) -> Adapter:
    """Backward differentiates at the first point that came with these shapes, as a memo keyed by shape does."""
    first: dict[tuple[tuple[int, ...], ...], Pullback] = {}

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        return out, first.setdefault(tuple(v.shape for v in case.primals.values()), pullback)

    return Bent(adapter, vjp)
