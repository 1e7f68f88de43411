"""The gradient is off by a constant factor."""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

from gradverify import registry
from gradverify.causes._tools import elsewhere, lengths, number, pair
from gradverify.causes._what_if import better, played_through
from gradverify.types import Cause, Evidence, Measurement

NICE = frozenset({"2", "1/2", "4", "1/4", "3", "1/3"})


SUGGESTION = "look for a forgotten 1/2, a mean that is a sum, or a factor applied twice"


@registry.cause("scale")
def scale(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is the wanted one times one factor in every entry; shapes that explain the factor are named."""
    return better(_itself(m, ev), played_through(m, ev, "scale", SUGGESTION))


def _itself(m: Measurement, ev: Evidence) -> Cause | None:
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    clear = p.signal
    n = int(np.sum(clear))
    if not n:
        return None
    c = float(np.sum(p.got[clear] * p.want[clear]) / np.sum(p.want[clear] ** 2))
    if not c or not np.isfinite(c) or not p.is_(c * p.want, c):
        return None
    meaning = _meaning(c, ev)
    if n < 3 and not meaning and number(abs(c)) not in NICE:
        return None
    return Cause(
        name="scale",
        evidence=f"got / want = {number(c)} in all {n} entries{meaning}{elsewhere(ev, p, c)}",
        suggestion=f"divide by {number(c)}: look for a forgotten 1/2, a mean that is a sum, or a factor applied twice",
        confidence=(0.7 if meaning or number(abs(c)) in NICE else 0.6) - (0.2 if n < 3 else 0.0),
    )


def _meaning(c: float, ev: Evidence) -> str:
    """Which lengths in sight make up the factor: "; 15 = 5 (axis 0 of x) * 3 (axis 1 of the output)"."""
    known = dict(sorted(lengths(ev).items()))
    for target in (abs(c), 1 / abs(c)):
        for n, where in known.items():
            if abs(target - n) < 1e-9 * n:
                return f"; {n} is the length of {where}"
        for a, b in combinations_with_replacement(known, 2):
            if abs(target - a * b) < 1e-9 * a * b:
                return f"; {a * b} = {a} ({known[a]}) * {b} ({known[b]})"
    return ""
