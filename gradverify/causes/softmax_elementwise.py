"""The softmax is differentiated entry by entry."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement, leaves

SUGGESTION = "every logit moves every probability: dz = s * (u - sum(u * s, axis=-1, keepdims=True))"


@registry.cause("softmax-elementwise")
def softmax_elementwise(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is upstream * s * (1 - s), the diagonal of the softmax Jacobian alone."""
    found = played_through(m, ev, "softmax-elementwise", SUGGESTION)
    p = pair(m, ev)
    if found is not None or p is None or not p.alike:
        return found
    for k, out in leaves(ev.out).items():
        u = np.asarray(leaves(ev.upstream)[k], dtype=float)
        s = np.asarray(out, dtype=float)
        if s.shape != p.got.shape or s.size < 3:
            continue
        for axis in range(s.ndim):
            if np.max(np.abs(s.sum(axis=axis) - 1)) < 1e-5 and p.is_(u * s * (1 - s)):
                return Cause(
                    name="softmax-elementwise",
                    evidence=f"got is upstream * s * (1 - s) in all {s.size} entries; the output sums "
                    f"to one along axis {axis}",
                    suggestion=SUGGESTION,
                    confidence=0.97,
                )
    return None
