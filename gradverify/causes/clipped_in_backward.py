"""Backward bounds what it returns."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import experiment, number, pair
from gradverify.types import Array, Cause, Evidence, Measurement, leaves, like

FAR = 2.0**20  #: times the upstream, and sixteen times that: a bounded gradient is the same for both
SAME = 1e-6  #: relative


@registry.cause("clipped-in-backward")
def clipped_in_backward(m: Measurement, ev: Evidence) -> Cause | None:
    """However large the upstream, the gradient stays within a bound: it is clipped, or divided by its norm."""
    if ev.check == "linear-in-upstream":
        name = str(m.facts.get("primal", m.of))
    elif (p := pair(m, ev)) is not None and p.alike:
        name = p.name
    else:
        return None
    given = ev.got.get(name)
    if given is None or not np.any(given):
        return None
    far = _at(ev, name, FAR)
    if far is None or np.max(np.abs(far)) > FAR / 16 * np.max(np.abs(given)):
        return None  # in proportion, or nearly so
    further, turned = _at(ev, name, 16 * FAR), _at(ev, name, -FAR)
    if further is None or turned is None or not np.any(far) or not _same(further, far) or _same(turned, far):
        return None
    size = np.abs(far[far != 0])
    if np.ptp(size) <= SAME * size[0]:
        said = f"every entry of it is {number(float(size[0]))} or {number(-float(size[0]))}"
    else:
        said = f"its norm is {float(np.linalg.norm(far)):.6g}"
    return Cause(
        name="clipped-in-backward",
        evidence=f"with an upstream 2^20 or 2^24 times as large the gradient of {name} is the same: {said}",
        suggestion="return the gradient as it is, and clip or normalise between backward and the update; "
        "if changing it is what the operation is for, say so in a sentence: surrogate='clips on purpose'",
        confidence=0.95,
    )


def _at(ev: Evidence, name: str, factor: float) -> Array | None:
    with np.errstate(over="ignore"):  # beyond float16 it is infinite, and nothing is learned
        above = {k: np.asarray(np.asarray(v) * factor, np.asarray(v).dtype) for k, v in leaves(ev.upstream).items()}
    found = experiment(ev, upstream=like(ev.upstream, above))
    g = None if found is None else found.get(name)
    return np.asarray(g) if g is not None and np.all(np.isfinite(g)) else None


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.all(np.abs(a - b) <= SAME * np.max(np.abs(b))))
