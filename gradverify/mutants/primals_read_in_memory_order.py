"""The primals are read as they lie in memory."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Bent, lending
from gradverify.types import Adapter, Case, Out, Pullback


@registry.mutant("primals-read-in-memory-order", kind="contract", caught_by="primal-layouts", causes="layout")
def primals_read_in_memory_order(adapter: Adapter) -> Adapter:
    """Every primal is flattened in memory order and given its shape again in C order."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        given = case.thawed()
        return inner.vjp(lending(case, {k: v.ravel(order="K").reshape(v.shape) for k, v in given.items()}))

    return Bent(adapter, vjp)
