"""Suspected bugs played through on the traced forward: whose gradients are exactly the ones that were got."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradverify.causes._tools import Pair, pair, pairs
from gradverify.types import Array, Cause, Evidence, Measurement


def played_through(m: Measurement, ev: Evidence, name: str, suggestion: str) -> Cause | None:
    """The cause ``name`` if one of its hypotheses gives the gradient that was got, entry by entry.

    A hypothesis that explains every primal is near certainty; one that explains this primal alone is likely.
    """
    p = pair(m, ev)
    if p is None or not p.alike or ev.what_if is None:
        return None
    best: Cause | None = None
    for label, gradients in ev.what_if():
        kind, _, where = label.partition(":")
        if kind != name or not _explains(p, gradients):
            continue
        others = [q for k, q in pairs(ev).items() if k != p.name]
        unexplained = [q.name for q in others if not _explains(q, gradients)]
        found = Cause(
            name=name,
            evidence=f"with {where.strip()} differentiated that way the gradient of {p.name} is what was got, "
            f"in all {p.got.size} entries" + (f" (but not that of {', '.join(unexplained)})" if unexplained else ""),
            suggestion=suggestion,
            confidence=0.8 if unexplained else 0.97,
        )
        if best is None or found.confidence > best.confidence:
            best = found
    return best


def _explains(p: Pair, gradients: Mapping[str, Array]) -> bool:
    value = gradients.get(p.name)
    return value is not None and p.alike and p.is_(np.asarray(value), 4.0)
