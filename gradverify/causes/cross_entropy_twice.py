"""Softmax and cross-entropy are combined twice."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair
from gradverify.causes._tools import pair
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement

SUGGESTION = "p - y already is the gradient at the logits: do not multiply it by the derivative of the softmax again"


@registry.cause("cross-entropy-twice")
def cross_entropy_twice(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient (p - y) of softmax with cross-entropy went through the Jacobian of the softmax once more."""
    found = played_through(m, ev, "cross-entropy-twice", SUGGESTION)
    p = pair(m, ev)
    if found is not None or p is None or not p.alike or p.name not in ev.case.primals or p.got.size < 3:
        return found
    z = np.asarray(ev.case.primals[p.name], dtype=float)
    if z.shape != p.want.shape or not _less_everywhere(p):
        return None
    a = 1 / (1 + np.exp(-np.clip(z, -700, 700)))
    if p.is_(p.want * a * (1 - a)):
        return Cause(
            name="cross-entropy-twice",
            evidence=f"got is want times s (1 - s), s the sigmoid of {p.name}, in all {p.got.size} entries",
            suggestion="s - y already is the gradient at the logits: do not multiply it by the derivative of the "
            "sigmoid again",
            confidence=0.97,
        )
    for axis in (a for a, n in enumerate(z.shape) if n > 1 and np.any(p.got)):
        e = np.exp(z - z.max(axis=axis, keepdims=True))
        s = e / e.sum(axis=axis, keepdims=True)
        for words, twice in (
            ("the softmax Jacobian", s * (p.want - np.sum(p.want * s, axis=axis, keepdims=True))),
            ("s * (1 - s)", p.want * s * (1 - s)),
        ):
            if p.is_(twice):
                return Cause(
                    name="cross-entropy-twice",
                    evidence=f"got is want times {words} of {p.name} along axis {axis}, in all {p.got.size} entries",
                    suggestion=SUGGESTION,
                    confidence=0.97,
                )
    return None


def _less_everywhere(p: Pair) -> bool:
    """Whether got is the smaller of the two as a whole, as what went through s (1 - s) is: a quarter at most."""
    return float(np.linalg.norm(p.got)) <= 0.51 * float(np.linalg.norm(p.want)) + float(np.linalg.norm(p.tol))
