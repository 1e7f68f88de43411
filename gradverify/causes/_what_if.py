"""Suspected bugs played through on the traced forward: whose gradients are exactly the ones that were got."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradverify.causes._pair import Pair, proportional
from gradverify.causes._tools import pair, pairs
from gradverify.types import Array, Cause, Evidence, Measurement

#: between hypotheses that explain the same gradients the simpler one comes first; so much is taken off the others
LESS = {
    "missing-activation-derivative": 0.0,
    "softmax-elementwise": 0.0,
    "dropped-samples": 0.0,
    "transposed": 0.002,
    "missing-term": 0.006,
    "wrong-mask": 0.007,
    "scale": 0.01,
    "sign": 0.04,
}


def played_through(m: Measurement, ev: Evidence, name: str, suggestion: str) -> Cause | None:
    """The cause ``name`` if one of its hypotheses gives the gradient that was got, entry by entry.

    A hypothesis that explains every primal is near certainty; one that explains this primal alone is likely.
    """
    p = pair(m, ev)
    if p is None or not p.alike or ev.what_if is None or not np.any(p.got):
        return None
    plain = _by_a_factor(p, ev)  # then a factor says it in simpler words
    best: Cause | None = None
    for label, gradients in ev.what_if():
        kind, _, where = label.partition(":")
        if kind != name or not _explains(p, gradients):
            continue
        others = [q for k, q in pairs(ev).items() if k != p.name]
        unexplained = [q.name for q in others if not _explains(q, gradients)]
        share = 1 - len(unexplained) / max(1, len(others))
        confidence = (0.7 + 0.18 * share if unexplained else 0.97) - (0.4 if plain else 0.0) - LESS.get(name, 0.008)
        confidence -= _left(p, gradients)
        found = Cause(
            name=name,
            evidence=f"{where.strip()}: that gives the gradient of {p.name} that was got, "
            f"in all {p.got.size} entries" + (f" (but not that of {', '.join(unexplained)})" if unexplained else ""),
            suggestion=suggestion,
            confidence=confidence,
        )
        if best is None or found.confidence > best.confidence:
            best = found
    return best


def _by_a_factor(p: Pair, ev: Evidence) -> bool:
    """One factor in all entries: of this primal, or of all that are wrong where this one has too few to tell."""
    if p.by_a_factor:
        return True
    wrong = [q for q in pairs(ev).values() if q.alike and np.any(q.wrong)]
    if p.got.size > 2 or not wrong:
        return False
    got, want, tol = (np.concatenate([np.ravel(getattr(q, part)) for q in wrong]) for part in ("got", "want", "tol"))
    return proportional(got, want, tol) is not None


def _explains(p: Pair, gradients: Mapping[str, Array]) -> bool:
    value = gradients.get(p.name)
    return value is not None and p.alike and p.is_(np.asarray(value), 4.0)


def _left(p: Pair, gradients: Mapping[str, Array]) -> float:
    """The part of the difference that a hypothesis leaves over: in coarse arithmetic the nearest one is said."""
    wrong = float(np.max(np.abs(p.got - p.want), initial=0.0))
    left = float(np.max(np.abs(p.got - gradients[p.name]), initial=0.0)) / wrong if wrong else 0.0
    return min(0.1, left) if left > 1e-3 else 0.0


def better(a: Cause | None, b: Cause | None) -> Cause | None:
    """The surer of two; the first of equals."""
    if a is None or b is None:
        return a or b
    return b if b.confidence > a.confidence else a
