"""A term of the derivative is missing."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._terms import terms
from gradverify.causes._tools import pair
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement

SUGGESTION = (
    "add the missing path: the regularisation that forward has, a mean that depends on x too, += where paths meet"
)


@registry.cause("missing-term")
def missing_term(m: Measurement, ev: Evidence) -> Cause | None:
    """Got = want - (something in scope), or the difference has the structure of one missing term."""
    p = pair(m, ev)
    if p is not None and not np.any(p.want):
        return None  # of a derivative that is zero nothing is missing
    found = next((t for t in terms(p, ev) if not t.extra), None) if p is not None else None
    played = played_through(m, ev, "missing-term", SUGGESTION)
    if found is None or (played is not None and played.confidence >= found.confidence):
        return played
    return Cause(name="missing-term", evidence=found.words, suggestion=SUGGESTION, confidence=found.confidence)
