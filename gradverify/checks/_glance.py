"""A glance at a gradient that nobody has reason to doubt: one difference quotient, before the oracles are asked.

Checks that leave the given point ask at many others. There a wrong branch or a remembered mask is wrong by much, which
two evaluations of the forward show. What does not match at a glance is no fail: it is looked at in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gradverify.errors import AdapterError
from gradverify.sampling import evaluate, quiet
from gradverify.types import Array, Bench, Case, Estimate, Gradients, Measurement, Out, leaves

STEP, WITHIN = 2e-6, 1e-6  #: relative: of the step, and how well the quotient must be met
NARROW = 2e-5  #: how well by gradients in single precision, where the forward runs in double
ROUGH_STEP, ROUGH = 1e-2, 5e-3  #: the same in single precision
COARSE = 1e-5  #: a precision below which two evaluations tell nothing
DROWNED = 1e-3  #: of the largest part, below which a primal's part of the slope is not made as large as the others'


def glance(bench: Bench, case: Case, upstream: Out, gradients: Gradients, words: str) -> Measurement | None:
    """The slope along one random direction over all primals, where it is what the gradients say; else None."""
    got = {k: np.asarray(g, float) for k, g in gradients.items() if g is not None and np.size(g)}
    if not got or bench.eps > COARSE or any(g.shape != case.primals[k].shape for k, g in got.items()):
        return None
    wide = {k: np.asarray(case.primals[k], float) for k in got}
    direction = {k: _typical(v) * bench.rng.uniform(0.5, 1.5, v.shape) * bench.rng.choice([-1.0, 1.0], v.shape)
                 for k, v in wide.items()}  # fmt: skip
    parts = {k: float(np.linalg.norm(got[k] * v)) for k, v in direction.items()}
    least = max(min((p for p in parts.values() if p > 0), default=0.0), DROWNED * max(parts.values()))
    direction = {k: v * min(1.0, least / parts[k]) if parts[k] > 0 else v for k, v in direction.items()}
    with np.errstate(all="ignore"):
        size = float(np.sqrt(sum(np.sum((got[k] * v) ** 2) for k, v in direction.items())))
    said = sum(float(np.sum(got[k] * v)) for k, v in direction.items())
    if not np.isfinite(size):
        return None
    narrow = bench.eps >= 1e-10
    slope, within = _slope(bench, case, direction, upstream, STEP, np.float64), NARROW if narrow else WITHIN
    if slope is None and narrow:
        slope, within = _slope(bench, case, direction, upstream, ROUGH_STEP, None), ROUGH
    if slope is None or not abs(slope - said) <= within * size:
        return None
    want = Estimate(value=np.asarray(slope), error=np.asarray(within * size))
    of, ask = f"slope along a random direction {words}", 2 * within  # no more than that is asked of two evaluations
    return Measurement(of=of, got=np.asarray(said), want=want, scale=size, ask=ask)


def _typical(v: Array) -> float:
    size = float(np.sqrt(np.mean(np.square(v)))) if v.size else 0.0
    return size if np.isfinite(size) and size > 0 else 1.0


def _slope(
    bench: Bench, case: Case, direction: Mapping[str, Array], upstream: Out, step: float, kind: type | None
) -> float | None:
    """Of <upstream, forward>, by two evaluations on arrays of one kind, or of their own; None where that is refused."""
    ends = []
    for by in (step, -step):
        there = {k: np.asarray(case.primals[k], float) + by * v for k, v in direction.items()}
        ends.append(_at(bench, case, {k: np.asarray(v, kind or case.primals[k].dtype) for k, v in there.items()}))
    one, other = ends
    if one is None or other is None or (kind and any(np.asarray(v).dtype != kind for v in one.values())):
        return None
    weights = leaves(upstream)
    with np.errstate(all="ignore"):
        return sum(
            float(np.sum(np.asarray(weights[k], float) * (np.asarray(a, float) - np.asarray(other[k], float))))
            for k, a in one.items()
        ) / (2 * step)


def _at(bench: Bench, case: Case, primals: Mapping[str, Array]) -> Mapping[str, Array] | None:
    """The output at other primals, as real numbers; None where the forward refuses."""
    with quiet():
        try:
            return leaves(evaluate(bench.adapter, replace(case.at(primals), upstream=None)))
        except AdapterError:
            return None
