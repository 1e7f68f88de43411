"""What may stand behind a difference between a gradient and an oracle other than a wrong gradient.

A file each, with ``explain(difference)``: it replaces the answer, or widens the allowance, if what it knows explains
the difference, and leaves both as they are if not. The cheapest is asked first; what none explains is wrong.
"""

from __future__ import annotations

from gradverify.explanations import (
    branches,
    conditioned,
    conventions,
    entries,
    epsilons,
    faint,
    iterations,
    rounded,
    symmetric,
)
from gradverify.explanations._difference import Difference

#: in the order in which they are asked; each only while a difference remains
EXPLANATIONS = (rounded, conditioned, iterations, epsilons, branches, symmetric, conventions, entries)


def explain(difference: Difference) -> None:
    """All explanations, until nothing differs."""
    if not difference.remains():
        faint.explain(difference)
        return
    for explanation in EXPLANATIONS:
        if difference.remains():
            explanation.explain(difference)
    if difference.hopeless and not rounded.beyond(difference):
        rounded.widen(difference)  # the oracle was wrong there


__all__ = ["EXPLANATIONS", "Difference", "explain"]
