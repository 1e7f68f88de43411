"""Another value at a kink."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("kink-convention")
def kink_convention(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient differs only at kinks or ties of the forward, and lies outside the one-sided derivatives there."""
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    wrong = p.wrong
    n = int(np.sum(wrong))
    if m.lower is not None and m.upper is not None and np.all((m.upper > m.lower)[wrong]):
        i = tuple(int(x) for x in np.argwhere(wrong)[0])
        return _cause(
            f"all {n} wrong entries lie at kinks; at {list(i)} got {p.got[i]:.6g}, the one-sided derivatives are "
            f"{m.lower[i]:.6g} and {m.upper[i]:.6g}", 0.95,
        )  # fmt: skip
    primal = ev.case.primals.get(p.name)
    if (
        primal is not None
        and primal.shape == p.got.shape
        and np.any(~wrong)
        and np.all(primal[wrong] == 0)
        and np.all(primal[~wrong] != 0)
    ):
        return _cause(f"all {n} wrong entries, and no others, have {p.name} = 0", 0.6)
    return None


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="kink-convention",
        evidence=evidence,
        suggestion="choose a value between the one-sided derivatives: 0 for relu at 0, one winner or a split at ties",
        confidence=confidence,
    )
