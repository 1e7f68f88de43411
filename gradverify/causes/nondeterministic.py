"""The gradient is drawn anew in every run."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import changes, experiment, pair
from gradverify.types import Array, Cause, Evidence, Measurement


@registry.cause("nondeterministic")
def nondeterministic(m: Measurement, ev: Evidence) -> Cause | None:
    """Two runs at the same point give different gradients."""
    if ev.check == "deterministic" and m.facts.get("drawn"):
        return _cause(f"with other random numbers in backward {changes(m)}: it draws by itself", 0.97)
    if ev.check == "deterministic":
        said = f", and the output by up to {m.facts['output_spread']:.3g}" if m.facts.get("output_spread") else ""
        return _cause(f"two fresh runs differ by up to {m.facts.get('spread', float('nan')):.3g}{said}", 0.9)
    p = pair(m, ev)
    if p is None or p.got.shape != p.want.shape:
        return None
    one = _again(p.name, ev)
    if one is None or one.shape != p.got.shape or np.array_equal(one, p.got):
        return None  # the same to the bit as before
    two = _again(p.name, ev)
    if two is None or two.shape != p.got.shape:
        return None
    spread = float(np.max(np.abs(one - two), initial=0.0))
    if not spread > 4 * float(np.max(p.tol)):
        return None
    return _cause(f"two fresh runs at the same point differ by up to {spread:.3g}", 0.97)


def _again(name: str, ev: Evidence) -> Array | None:
    run = experiment(ev)
    return None if run is None or run.get(name) is None else np.asarray(run[name])


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="nondeterministic",
        evidence=evidence,
        suggestion="draw masks once, in forward, from a seeded generator, and keep them in the cache for backward",
        confidence=confidence,
    )
