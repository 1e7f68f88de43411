"""A primal or constant is written to."""

from __future__ import annotations

from gradverify import registry
from gradverify.causes._tools import changes
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("primal-mutated")
def primal_mutated(m: Measurement, ev: Evidence) -> Cause | None:
    """A primal or constant holds other numbers after the call than before."""
    if ev.check != "primals-unchanged":
        return None
    return Cause(
        name="primal-mutated",
        evidence=f"{m.of}: {changes(m)}",
        suggestion="work on a copy: ``z = x - x.max()`` in place of ``x -= x.max()``",
        confidence=0.97,
    )
