"""Gradients add up from call to call."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import experiment
from gradverify.types import Array, Cause, Evidence, Measurement


@registry.cause("accumulated")
def accumulated(m: Measurement, ev: Evidence) -> Cause | None:
    """A repeated call gives a multiple of the first: the gradient is added to what is already there."""
    if (
        ev.check not in ("second-call-equal", "deterministic")
        or m.got.shape != m.want.value.shape
        or not np.any(m.want.value)
    ):
        return None
    for k in (2, 3, 4):
        if np.all(np.abs(m.got - k * m.want.value) <= k * _slack(m)):
            return Cause(
                name="accumulated",
                evidence=f"{m.of}: got is {k} times the gradient of the first call in all {m.got.size} entries",
                suggestion="assign (=) in backward, or set the gradient to zero before it; "
                "accumulate only where the API says so",
                confidence=0.95,
            )
    return _growing(m, ev) if ev.check == "deterministic" else None


def _growing(m: Measurement, ev: Evidence) -> Cause | None:
    """Call after call the gradient grows by the same amount."""
    name = str(m.facts.get("primal", m.of.partition(":")[0]))
    runs = [experiment(ev) for _ in range(3)]
    seen = [np.asarray(r[name]) for r in runs if r is not None and r.get(name) is not None]
    if len(seen) < 3 or len({s.shape for s in seen}) > 1 or not all(np.all(np.isfinite(s)) for s in seen):
        return None
    steps = np.diff(np.stack(seen), axis=0)
    if not np.any(steps[0]) or np.max(np.abs(steps[1] - steps[0])) > 1e-9 * np.max(np.abs(seen[2])):
        return None
    return Cause(
        name="accumulated",
        evidence=f"{name}: from run to run the gradient grows by the same amount, up to {np.max(np.abs(steps)):.3g}",
        suggestion="assign (=) in backward, or set the gradient to zero before it; keep nothing in a global",
        confidence=0.95,
    )


def _slack(m: Measurement) -> Array:
    """The allowed difference; a few roundings where none is allowed."""
    return np.asarray(np.maximum(np.asarray(m.rounding, dtype=float), 1e-13 * np.max(np.abs(m.want.value))))
