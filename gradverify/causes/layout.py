"""The memory layout is misread."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import changes, experiment
from gradverify.types import Array, Cause, Evidence, Measurement


@registry.cause("layout")
def layout(m: Measurement, ev: Evidence) -> Cause | None:
    """The same numbers in another memory layout give another gradient."""
    if ev.check not in ("upstream-layouts", "primal-layouts") or "leaf" in m.facts:
        return None
    again = experiment(ev)
    name = str(m.facts.get("primal", m.of.partition(":")[0]))
    if again is not None and name in again and not np.array_equal(_plain(again[name]), _plain(ev.got.get(name))):
        return None  # the same layout gives another gradient too: a state that is kept
    if _single(m, ev):
        return None
    same = m.got.shape == m.want.value.shape and np.all(
        np.abs(np.sort(m.got, axis=None) - np.sort(m.want.value, axis=None)) <= np.max(m.rounding)
    )
    order = "; they are the right numbers in another order" if same else ""
    return Cause(
        name="layout",
        evidence=f"{m.of}: {changes(m)}{order}",
        suggestion="use strides and C-order reshapes (never ravel('K') or the raw buffer), or copy "
        "with np.ascontiguousarray first",
        confidence=0.95,
    )


def _single(m: Measurement, ev: Evidence) -> bool:
    """Whether the difference is that of single precision: float32 sums differ with their order, not with the layout."""
    double = all(v.dtype.itemsize >= 8 for v in ev.case.primals.values() if v.dtype.kind == "f")
    if not double or m.got.shape != m.want.value.shape or not np.all(np.isfinite(m.got)):
        return False
    size = float(np.max(np.abs(m.want.value), initial=0.0))
    return bool(np.max(np.abs(m.got - m.want.value), initial=0.0) < 64 * np.finfo(np.float32).eps * size)


def _plain(gradient: Array | None) -> Array:
    return np.zeros(0) if gradient is None else np.nan_to_num(np.asarray(gradient))
