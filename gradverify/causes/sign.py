"""The gradient has the wrong sign."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair
from gradverify.causes._tools import elsewhere, pair
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement

SUGGESTION = "change the sign: d(y - t)/dt is -1, and a loss that is minimised is not one that is maximised"


@registry.cause("sign")
def sign(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is the wanted one with the opposite sign, in every entry."""
    p = pair(m, ev)
    if p is None or not p.alike or not np.any(p.wrong):
        return None
    clear = p.signal
    turned = np.sum(clear) > 0.8 * p.got.size > 3 and np.all(np.abs(p.got + p.want)[clear] <= p.tol[clear])
    if not np.any(clear) or not (turned or p.is_(-p.want)):
        return played_through(m, ev, "sign", SUGGESTION) or _some(p)
    n = int(np.sum(clear))
    return Cause(
        name="sign",
        evidence=f"got / want = -1 in all {n} entries{elsewhere(ev, p, -1.0)}",
        suggestion=SUGGESTION,
        confidence=0.95 if n > 1 else 0.75,
    )


def _some(p: Pair) -> Cause | None:
    """The wrong entries, and they alone, have the other sign."""
    wrong = p.wrong
    if not np.any(wrong) or not np.all(p.signal[wrong]) or not np.all(np.abs(p.got + p.want)[wrong] <= p.tol[wrong]):
        return None
    n, first = int(np.sum(wrong)), [int(i) for i in np.argwhere(wrong)[0]]
    return Cause(
        name="sign",
        evidence=f"got = -want in all {n} wrong entries, the first at {first}; the other {p.got.size - n} are right",
        suggestion=SUGGESTION,
        confidence=0.85,
    )
