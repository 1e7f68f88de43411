"""A sum over the wrong axis."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair, pairs
from gradverify.causes._what_if import better, played_through
from gradverify.types import Cause, Evidence, Measurement, leaves

SUGGESTION = "sum over the axis that forward broadcast: with samples in rows the bias gradient is delta.sum(axis=0)"


@registry.cause("wrong-axis")
def wrong_axis(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is a per-sample gradient summed (or averaged) over another axis than the wanted one."""
    return better(_itself(m, ev), played_through(m, ev, "wrong-axis", SUGGESTION))


def _itself(m: Measurement, ev: Evidence) -> Cause | None:
    p = pair(m, ev)
    if p is None:
        return _by_shape(m, ev) if ev.check == "shape" else None
    if not np.any(p.got):
        return None
    sources = {f"the upstream {k}".strip(): np.asarray(v, dtype=float) for k, v in leaves(ev.upstream).items()}
    sources |= {f"the gradient of {k}": q.got for k, q in pairs(ev).items() if k != p.name}
    for words, source in sources.items():
        if source.ndim <= p.want.ndim or not np.all(np.isfinite(source)):
            continue
        sums = {a: source.sum(axis=a) for a in range(source.ndim)}
        right = next(
            (a for a, s in sums.items() if s.shape == p.want.shape and np.all(np.abs(s - p.want) <= p.tol)), None
        )
        for a, s in sums.items():
            if right is None or a == right or s.shape != p.got.shape:
                continue
            for how, value in (("summed", s), ("averaged", s / source.shape[a])):
                if np.all(np.abs(p.got - value) <= np.max(p.tol)):
                    return _cause(
                        f"got is {words} {how} over axis {a}; summed over axis {right} it is the gradient of {p.name}",
                        0.95,
                    )
    if p.got.shape == p.want.shape and p.alike and p.got.size > 2 and np.ptp(p.got) <= np.max(p.tol) < np.ptp(p.want):
        total, mean = float(np.sum(p.want)), float(np.mean(p.want))
        for words, value in (("the sum", total), ("the mean", mean)):
            if abs(p.got.flat[0] - value) <= np.max(p.tol) * p.got.size:
                return _cause(f"all {p.got.size} entries of got are {words} of the wanted ones", 0.9)
    for words, source in sources.items():
        if not words.startswith("the upstream") or not p.alike or p.got.size < 3 or not np.all(np.isfinite(source)):
            continue
        if source.ndim == p.got.ndim + 1:
            for a in range(source.ndim):
                if p.is_(source.sum(axis=a), 4.0):
                    return _cause(f"got is {words} summed over axis {a} in all {p.got.size} entries; want is not", 0.86)
        if source.ndim + 1 == p.got.ndim:
            for a in range(p.got.ndim):
                wide = np.expand_dims(source, a)
                fits = all(i in (1, n) for i, n in zip(wide.shape, p.got.shape, strict=True))
                if fits and p.is_(wide + np.zeros(p.got.shape)):
                    return _cause(f"got is {words} repeated along axis {a} in all {p.got.size} entries", 0.9)
    if (
        p.got.shape != p.want.shape
        and p.got.ndim == p.want.ndim == 1
        and abs(p.got.sum() - p.want.sum()) <= np.max(p.tol) * p.got.size
    ):
        return _cause(f"got has shape {p.got.shape} for {p.want.shape} and the same total", 0.9)
    return None


def _by_shape(m: Measurement, ev: Evidence) -> Cause | None:
    """A vector as long as another axis of the output than its primal."""
    name = str(m.facts.get("primal", m.of))
    got, primal = ev.got.get(name), ev.case.primals.get(name)
    if got is None or primal is None or np.ndim(got) != 1 or got.size == primal.size:
        return None
    for out in leaves(ev.out).values():
        if np.ndim(out) > 1 and np.shape(got)[0] in np.shape(out) and primal.size in np.shape(out):
            return _cause(
                f"got has shape {np.shape(got)} for {primal.shape}: both are axes of the output, {np.shape(out)}", 0.7
            )
    return None


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="wrong-axis",
        evidence=evidence,
        suggestion=SUGGESTION,
        confidence=confidence,
    )
