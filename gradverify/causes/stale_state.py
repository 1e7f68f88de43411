"""Something is kept from another call."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import experiment
from gradverify.types import Cause, Evidence, Measurement

CHECKS = frozenset(
    [
        "second-call-equal",
        "two-forwards-before-one-backward",
        "deterministic",
        "same-array-twice",
        "shared-node",
        "raises-with-forward",
    ]
)
SUGGESTION = "keep what backward needs in a cache that forward returns, one per forward, and return fresh arrays"


@registry.cause("stale-state")
def stale_state(m: Measurement, ev: Evidence) -> Cause | None:
    """A call gives what an earlier or later call should have given."""
    if "memory" in m.facts:
        return Cause(
            name="stale-state",
            evidence=f"{m.of} it is right once {m.facts['memory']} is emptied: it holds what belongs to another point",
            suggestion=SUGGESTION,
            confidence=0.98,
        )
    if ev.check not in CHECKS and not m.facts.get("used"):
        return None
    if ev.check == "raises-with-forward":
        return Cause(
            name="stale-state",
            evidence=m.why,
            suggestion="let what forward raises through, and forget the cache of the call before",
            confidence=0.9,
        )
    if ev.check == "deterministic" and m.facts.get("output_spread") != 0:
        return None
    if m.facts.get("reused"):
        evidence, confidence = f"{m.of}: the arrays returned first hold other numbers after a later call", 0.95
    elif ev.check == "same-array-twice":
        evidence, confidence = f"{m.of}: what is kept per array is shared by two arguments", 0.5
    elif ev.check == "deterministic":
        evidence = f"{m.of}: the output is the same, the gradient differs by up to {_apart(m):.3g}"
        settled = _settled(m, ev)
        evidence, confidence = evidence + "; later runs agree" * settled, 0.92 if settled else 0.5
    else:
        n = (
            int(np.sum(~(np.abs(m.got - m.want.value) <= m.rounding)))
            if m.got.shape == m.want.value.shape
            else m.got.size
        )
        evidence, confidence = (
            f"{m.of}: {n} of {m.got.size} entries differ from those of a call that has no predecessor",
            0.9,
        )
    return Cause(
        name="stale-state",
        evidence=evidence,
        suggestion=SUGGESTION,
        confidence=confidence,
    )


def _apart(m: Measurement) -> float:
    return float(np.max(np.abs(m.got - m.want.value))) if m.got.shape == m.want.value.shape else float("nan")


def _settled(m: Measurement, ev: Evidence) -> bool:
    """Two more runs agree with each other to the bit: it is not chance but what the first call left behind."""
    name = str(m.facts.get("primal", m.of.partition(":")[0]))
    found = [run.get(name) for _ in range(2) if (run := experiment(ev)) is not None]
    return len(found) == 2 and found[0] is not None and found[1] is not None and np.array_equal(found[0], found[1])
