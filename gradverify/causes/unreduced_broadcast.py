"""A broadcast primal's gradient is not summed."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.types import Array, Cause, Evidence, Measurement, leaves

SIZES = frozenset({"batch-one", "zero-batch", "size-one-axes"})


@registry.cause("unreduced-broadcast")
def unreduced_broadcast(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient has the shape of what the primal was broadcast to, or an axis of length one more or less."""
    if ev.check in SIZES and m.got.shape == m.want.value.shape and np.size(m.got) and "shape" in m.of:
        return _cause(f"{m.why}: an axis is lost or added when its length changes", 0.8)
    if ev.check == "raw-backward" and "got_shape" in m.facts:
        return _cause(m.why, 0.95)
    p = pair(m, ev)
    if p is None and ev.check == "shape":
        return _by_shape(m, ev)
    if p is None or p.got.shape == p.want.shape:
        return None
    if p.got.size == p.want.size and np.squeeze(p.got).shape == np.squeeze(p.want).shape:
        same = np.all(np.abs(np.squeeze(p.got) - np.squeeze(p.want)) <= np.squeeze(p.tol))
        return _cause(
            f"got has shape {p.got.shape} for {p.want.shape}"
            + (" with the right numbers: an axis of length one is lost or added" if same else ""),
            0.9 if same else 0.6,
        )
    summed = _summed(p.got, p.want.shape)
    if summed is None:
        return None
    right = np.all(np.abs(summed - p.want) <= p.tol * max(1.0, p.got.size / max(1, p.want.size)))
    return _cause(
        f"got has shape {p.got.shape}, {p.name} has {p.want.shape}"
        + ("; summed over the broadcast axes it is right" if right else ""),
        0.95 if right else 0.7,
    )


def _summed(got: Array, shape: tuple[int, ...]) -> Array | None:
    """``got`` summed over the axes that broadcasting ``shape`` would have added; None where it could not have."""
    extra = got.ndim - len(shape)
    if extra < 0:
        return None
    total = got.sum(axis=tuple(range(extra)))
    axes = tuple(i for i, (a, b) in enumerate(zip(total.shape, shape, strict=True)) if a != b)
    if any(shape[i] != 1 for i in axes) or (not axes and not extra):
        return None
    return np.asarray(total.sum(axis=axes, keepdims=True))


def _by_shape(m: Measurement, ev: Evidence) -> Cause | None:
    """The same from the shapes alone, where no oracle has spoken."""
    name = str(m.facts.get("primal", m.of))
    got, primal = ev.got.get(name), ev.case.primals.get(name)
    if got is None or primal is None or np.shape(got) == primal.shape or np.shape(got) == primal.T.shape:
        return None
    if np.squeeze(got).shape == np.squeeze(primal).shape:
        return _cause(f"got has shape {np.shape(got)} for {primal.shape}: an axis of length one is lost or added", 0.85)
    if _summed(np.asarray(got), primal.shape) is not None:
        above = [np.shape(v) for v in leaves(ev.out).values()]
        said = ", the shape of the output" if np.shape(got) in above else ""
        return _cause(f"got has shape {np.shape(got)}{said}; {name} has {primal.shape} and is broadcast to it", 0.85)
    return None


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="unreduced-broadcast",
        evidence=evidence,
        suggestion="sum over every axis that forward broadcast, and give the result the primal's own "
        "shape: db = delta.sum(axis=0)",
        confidence=confidence,
    )
