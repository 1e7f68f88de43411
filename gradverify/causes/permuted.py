"""The right numbers in the wrong places."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair, pairs
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement


SUGGESTION = "check the order in which gradients are returned, axes are moved and flipped, and loops run backwards"


@registry.cause("permuted")
def permuted(m: Measurement, ev: Evidence) -> Cause | None:
    """The entries of the gradient are those wanted in another order, or those of another primal."""
    return _itself(m, ev) or played_through(m, ev, "permuted", SUGGESTION)


def _itself(m: Measurement, ev: Evidence) -> Cause | None:
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    for name, q in pairs(ev).items():
        if name != p.name and q.want.shape == p.want.shape and np.any(q.signal) and p.is_(q.want):
            back = q.alike and q.is_(p.want)
            return _cause(
                f"the gradient of {p.name} is the one wanted for {name}"
                + (", and the other way round: they are swapped" if back else ""),
                0.94 if back else 0.85,
            )
    if int(np.sum(p.signal)) < 3 or np.ptp(p.want) <= 8 * np.max(p.tol):
        return None
    for axis in range(p.want.ndim):
        if p.is_(np.flip(p.want, axis)):
            return _cause(f"got is want reversed along axis {axis}", 0.9)
        for shift in range(1, min(p.want.shape[axis], 8)):
            for s in (shift, -shift):
                if p.is_(np.roll(p.want, s, axis)):
                    return _cause(f"got is want shifted by {s} along axis {axis}", 0.9)
    if p.is_(p.want.ravel()[::-1].reshape(p.want.shape)):
        return _cause("got is want read backwards", 0.9)
    if np.all(np.abs(np.sort(p.got, axis=None) - np.sort(p.want, axis=None)) <= np.max(p.tol)):
        return _cause(f"the {p.got.size} numbers of got are those of want in another order", 0.75)
    return None


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="permuted",
        evidence=evidence,
        suggestion=SUGGESTION,
        confidence=confidence,
    )
