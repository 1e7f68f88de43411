"""The gradient is transposed."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.causes._what_if import better, played_through
from gradverify.types import Cause, Evidence, Measurement

SUGGESTION = (
    "transpose it: for Z = A @ W.T the gradient of W is delta.T @ A, of shape (n_out, n_in), and of A delta @ W"
)


@registry.cause("transposed")
def transposed(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is the wanted one transposed, or filled in the other memory order."""
    return better(_itself(m, ev), played_through(m, ev, "transposed", SUGGESTION)) or _in_part(m, ev)


def _in_part(m: Measurement, ev: Evidence) -> Cause | None:
    """The difference changes its sign when it is transposed: a term of the sum is transposed, the others are not."""
    p = pair(m, ev)
    if p is None or not p.alike or p.want.ndim != 2 or p.want.shape[0] != p.want.shape[1]:
        return None
    left = p.got - p.want
    if np.sum(p.wrong) < 4 or not np.all(np.abs(left + left.T) <= p.tol + p.tol.T):
        return None
    return _cause(f"got - want is the opposite of its transpose in all {left.size} entries: a part is transposed", 0.75)


def _itself(m: Measurement, ev: Evidence) -> Cause | None:
    p = pair(m, ev)
    if p is None or p.want.ndim < 2 or not np.all(np.isfinite(p.got)):
        return None
    if p.got.shape != p.want.shape:
        if p.got.shape == p.want.T.shape and np.all(np.abs(p.got - p.want.T) <= p.tol.T):
            return _cause(
                f"got has shape {p.got.shape}, the transpose of {p.name}'s {p.want.shape}, and is "
                "want.T in all entries",
                0.97,
            )
        return None
    if p.want.ndim == 2 and p.want.shape[0] == p.want.shape[1] and p.is_(p.want.T):
        return _cause(f"got equals want.T in all {p.got.size} entries", 0.95)
    if p.is_(p.want.T.reshape(p.want.shape)):
        return _cause("got is want.T reshaped to the shape of want: the numbers are there in the other order", 0.93)
    if p.is_(p.want.reshape(p.want.T.shape).T):
        return _cause(
            "got is want reshaped where it should have been transposed: the numbers are there in the other order", 0.93
        )
    return None


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="transposed",
        evidence=evidence,
        suggestion=SUGGESTION,
        confidence=confidence,
    )
