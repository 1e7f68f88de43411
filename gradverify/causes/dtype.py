"""The precision is lost on the way."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair
from gradverify.causes._tools import experiment, float_primals, pair
from gradverify.types import Array, Cause, Evidence, Measurement, leaves, like

STEP, SHARE = 1e-6, 0.25  #: relative, to see whether the error jitters: its second difference against the error
SMOOTH = 100 * STEP**2  #: what the second difference of a smooth function may be, of its size


@registry.cause("dtype")
def dtype(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is as wrong as single precision is, or stored in a shorter type than its primal."""
    if ev.check == "dtype-preserved":
        return _cause(m.why, 0.97)
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    primal = ev.case.primals.get(p.name)
    if primal is None or primal.dtype.itemsize < 8 or primal.dtype.kind != "f":
        return None
    gap = float(np.max(np.abs(p.got - p.want)) / (np.max(np.abs(p.want)) or 1.0))
    for kind in (np.float32, np.float16):
        eps = float(np.finfo(kind).eps)
        if 1e-4 * eps < gap < 64 * eps:
            with np.errstate(over="ignore"):
                narrow = p.got.astype(kind).astype(float)
            stored = np.array_equal(p.got, narrow) and bool(np.any(p.got != np.round(p.got)))
            size = (
                f"the largest difference is {gap:.1e} of the largest entry; the roundoff of "
                f"{np.dtype(kind)} is {eps:.1e}"
            )
            if stored:
                return _cause(f"every entry of got is a {np.dtype(kind)} number, and {size}", 0.96)
            if kind is np.float32 and np.mean(p.wrong) > 0.5 and _jitters(p, ev):
                return _cause(size, 0.45)
    return None


def _jitters(p: Pair, ev: Evidence) -> bool:
    """Rounding changes from point to point; an epsilon or a coarse constant is wrong by the same amount beside it."""
    rng = np.random.default_rng(0)

    def steps(arrays: Mapping[str, Array]) -> dict[str, Array]:
        return {
            k: STEP * np.maximum(np.abs(v), np.sqrt(np.mean(np.abs(v) ** 2))) * rng.choice([-1.0, 1.0], np.shape(v))
            for k, v in arrays.items()
        }

    def moved(arrays: Mapping[str, Array], by: Mapping[str, Array], t: float) -> dict[str, Array]:
        return {k: np.asarray(v + t * by[k], dtype=np.asarray(v).dtype) for k, v in arrays.items()}

    own, upstream = float_primals(ev), leaves(ev.upstream)
    step, turn = steps(own), steps(upstream)
    runs = [experiment(ev, moved(own, step, t), like(ev.upstream, moved(upstream, turn, t))) for t in (-1.0, 0.0, 1.0)]
    seen = [np.asarray(r[p.name], dtype=float) for r in runs if r is not None and r.get(p.name) is not None]
    if len(seen) < 3 or len({s.shape for s in seen}) > 1:
        return False
    bend = np.abs(seen[0] + seen[2] - 2 * seen[1])
    least = max(SHARE * float(np.max(np.abs(p.got - p.want))), SMOOTH * float(np.max(np.abs(p.want))))
    return bool(np.max(bend) > least)


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="dtype",
        evidence=evidence,
        suggestion="allocate buffers with zeros_like(x) or dtype=x.dtype; look for float32 casts and integer arrays",
        confidence=confidence,
    )
