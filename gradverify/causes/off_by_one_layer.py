"""The gradient of the neighbouring layer."""

from __future__ import annotations

import re

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair
from gradverify.causes._tools import pair, pairs
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement

SUGGESTION = "check the index of the layer in the backward loop: delta_l needs W_(l+1) and z_l"


@registry.cause("off-by-one-layer")
def off_by_one_layer(m: Measurement, ev: Evidence) -> Cause | None:
    """Gradients of equally shaped primals are shifted by one layer."""
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    alike = [q for q in pairs(ev).values() if q.want.shape == p.want.shape and q.alike and np.any(q.signal)]
    if len(alike) < 3:
        return _numbered(p, alike) or played_through(m, ev, "off-by-one-layer", SUGGESTION)
    names = [q.name for q in alike]
    i = names.index(p.name) if p.name in names else -1
    for step in (1, -1):
        if i >= 0 and 0 <= i + step < len(alike) and p.is_(alike[i + step].want):
            shifted = sum(q.is_(alike[j + step].want) for j, q in enumerate(alike) if 0 <= j + step < len(alike))
            return Cause(
                name="off-by-one-layer",
                evidence=f"the gradient of {p.name} is the one wanted for {names[i + step]}; "
                f"{shifted} of {len(alike)} equally "
                f"shaped primals are shifted by {step}",
                suggestion=SUGGESTION,
                confidence=0.95 if shifted > 1 else 0.7,
            )
    return played_through(m, ev, "off-by-one-layer", SUGGESTION)


def _numbered(p: Pair, alike: list[Pair]) -> Cause | None:
    """b1 gets the gradient of b2, which keeps its own."""
    for q in alike:
        same = re.sub(r"\d+", "#", q.name) == re.sub(r"\d+", "#", p.name)
        if q.name != p.name and same and p.is_(q.want) and not q.is_(p.want):
            return Cause(
                name="off-by-one-layer",
                evidence=f"the gradient of {p.name} is the one wanted for {q.name}, in all {p.got.size} entries",
                suggestion=SUGGESTION,
                confidence=0.88,
            )
    return None
