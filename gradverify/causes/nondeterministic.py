"""The gradient is drawn anew in every run."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import experiment, pair
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("nondeterministic")
def nondeterministic(m: Measurement, ev: Evidence) -> Cause | None:
    """Two runs at the same point give different gradients."""
    if ev.check == "deterministic":
        said = f", and the output by up to {m.facts['output_spread']:.3g}" if m.facts.get("output_spread") else ""
        return _cause(f"two fresh runs differ by up to {m.facts.get('spread', float('nan')):.3g}{said}", 0.9)
    p = pair(m, ev)
    if p is None or p.got.shape != p.want.shape:
        return None
    runs = [experiment(ev), experiment(ev)]
    one, two = (None if r is None else r.get(p.name) for r in runs)
    if one is None or two is None or not np.shape(one) == np.shape(two) == p.got.shape:
        return None
    spread = float(np.max(np.abs(one - two), initial=0.0))
    if not spread > 4 * float(np.max(p.tol)):
        return None
    return _cause(f"two fresh runs at the same point differ by up to {spread:.3g}", 0.97)


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="nondeterministic",
        evidence=evidence,
        suggestion="draw masks once, in forward, from a seeded generator, and keep them in the cache for backward",
        confidence=confidence,
    )
