"""The penalty has no gradient."""

from __future__ import annotations

from dataclasses import replace

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Out, Pullback


@registry.mutant("penalty-forgotten", kind="contract", caught_by="telling-settings", causes="missing-term")
def penalty_forgotten(adapter: Adapter) -> Adapter:
    """The gradient is that of the loss without its penalty: nobody sees it at ``reg=0``."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        if not case.constants.get("reg"):
            return out, pullback
        return out, inner.vjp(replace(case, constants={**case.constants, "reg": 0.0}))[1]

    return Bent(adapter, vjp)
