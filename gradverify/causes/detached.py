"""The gradient does not arrive."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement

SUGGESTION = "follow the primal to the output: a detach, a copy, a dead mask or an unfilled buffer cuts the path"


@registry.cause("detached")
def detached(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is None, or zero everywhere, where the output depends on the primal."""
    found = played_through(m, ev, "detached", SUGGESTION)
    if found is not None:
        return found
    want = np.asarray(m.want.value)
    p = pair(m, ev)
    if m.facts.get("none") or (p is not None and ev.got.get(p.name, want) is None):
        name = str(m.facts.get("primal", m.of))
        size = float(np.max(np.abs(want), initial=0.0))
        return Cause(
            name="detached",
            evidence=f"None for {name}, whose derivative reaches {size:.3g}",
            suggestion=SUGGESTION,
            confidence=0.95,
        )
    if p is None or not p.alike or np.any(p.got) or not np.any(p.signal):
        return None
    name = p.name.removeprefix("gradient of ")
    if np.any(ev.got.get(name, p.got)):
        return None  # a few entries were looked at, and others are not 0
    return Cause(
        name="detached",
        evidence=f"all {p.got.size} entries of the gradient of {name} are 0; the derivative reaches "
        f"{np.max(np.abs(p.want)):.3g}",
        suggestion=SUGGESTION,
        confidence=0.93 if p.got.size > 1 else 0.8,
    )
