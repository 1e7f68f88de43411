"""0/0 or 0 * inf at an edge."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import float_primals, not_finite
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("nan-at-edge")
def nan_at_edge(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is NaN where the forward is finite, at a zero or another edge of the domain."""
    if ev.check == "linear-in-upstream" and m.facts.get("upstream") == "zero" and not np.all(np.isfinite(m.got)):
        return _cause(
            f"an upstream of zeros gives {int(np.sum(~np.isfinite(m.got)))} of {m.got.size} entries "
            "that are not finite",
            0.95,
        )
    if ev.check in ("zero-batch", "batch-one") and "finite" in m.of:
        return _cause(m.why, 0.9)
    bad = not_finite(m, ev)
    if bad is None:
        return None
    name, where = bad
    got = np.asarray(ev.got[name]) if ev.got.get(name) is not None else np.asarray(m.got)
    spots = ~np.isfinite(got)
    primal = ev.case.primals.get(name)
    if primal is not None and primal.shape == got.shape:
        for edge in (0.0, 1.0, -1.0):
            if np.all(primal[spots] == edge):
                return _cause(f"{where}, exactly where {name} is {edge:g}", 0.95)
    zeros = [k for k, v in float_primals(ev).items() if np.any(v == 0)]
    if zeros:
        return _cause(f"{where}; {', '.join(zeros)} has zeros", 0.7)
    return _cause(where, 0.5) if np.any(np.isnan(got)) else None


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="nan-at-edge",
        evidence=evidence,
        suggestion="guard the division or the power before it happens: x / where(n == 0, 1, n), not "
        "where(n == 0, 0, x / n)",
        confidence=confidence,
    )
