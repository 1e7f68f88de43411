"""Backward writes into the upstream."""

from __future__ import annotations

from gradverify import registry
from gradverify.causes._tools import changes
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("upstream-mutated")
def upstream_mutated(m: Measurement, ev: Evidence) -> Cause | None:
    """The upstream gradient holds other numbers after backward than before."""
    if ev.check not in ("upstream-unchanged", "raw-backward", "upstream-layouts") or "leaf" not in m.facts:
        return None
    return Cause(
        name="upstream-mutated",
        evidence=f"{m.of}: {changes(m)}",
        suggestion="work on a copy: ``dx = upstream * mask`` in place of ``upstream[~mask] = 0``",
        confidence=0.97,
    )
