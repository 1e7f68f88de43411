"""The upstream gradient is not used."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import experiment, pair
from gradverify.types import Cause, Evidence, Measurement, leaves, like


@registry.cause("upstream-ignored")
def upstream_ignored(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient does not change with the upstream, or is the one for an upstream of ones."""
    above = {k: np.asarray(v) for k, v in leaves(ev.upstream).items()}
    if ev.check == "linear-in-upstream":
        name = str(m.facts.get("primal", m.of))
        base = ev.got.get(name)
        if base is None or np.shape(base) != m.got.shape or not np.any(base) or not np.array_equal(m.got, base):
            return None
        return _cause(
            f"the gradient of {name} is the same to the bit for another upstream ({m.of.split(': ')[-1]})", 0.95
        )
    p = pair(m, ev)
    if p is None or not p.alike or all(np.all(v == 1) for v in above.values()):
        return None
    other = experiment(
        ev, upstream=like(ev.upstream, {k: np.asarray(3 * v[::-1] if v.ndim else 3 * v) for k, v in above.items()})
    )
    g = None if other is None else other.get(p.name)
    if g is not None and np.any(p.got) and np.array_equal(g, p.got):
        return _cause(f"the gradient of {p.name} is the same to the bit for another upstream", 0.966)
    for v in above.values():
        if v.shape == p.want.shape and np.all(v != 0) and p.is_(p.want / v):
            return _cause(f"got times the upstream is want in all {p.got.size} entries of {p.name}", 0.9)
    return None


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="upstream-ignored",
        evidence=evidence,
        suggestion="multiply by the upstream gradient: backward returns upstream * local derivative, "
        "not the derivative alone",
        confidence=confidence,
    )
