"""A parameter of a backward that is called like a primal: it takes the primal, or what the forward kept of it.

``relu_backward(dout, x)`` beside a ``relu_forward`` that returns ``(out, x)`` is called with what was returned, which
need not be the primal: it may be centred, padded, masked or rounded. Only where the primal is right and that is not,
the primal is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.adapters._arrays import as_array, shape_of
from gradverify.adapters._roles import Roles
from gradverify.errors import AdapterError
from gradverify.types import Adapter, Array, Arrays, Case, Gradients, Out

CLOSE = 1e-4  #: relative to the contributions: a difference of step 1e-5 is far better, another argument far worse
STEP = 1e-5
REFUSED = (AdapterError, ArithmeticError, ValueError, TypeError)


class SameName:
    """What such parameters are handed, settled when it first matters."""

    def __init__(self) -> None:
        self._primal: bool | None = None  #: None: not tried

    def table(
        self, table: Roles, adapter: Adapter, case: Case, primals: Mapping[str, Any], out: Any, cache: Any
    ) -> Roles:
        """The table, or one that hands out the cache where parameters are called like primals."""
        other = _handing_out(table, primals, cache)
        if other is None:
            return table
        if self._primal is None:

            def gradients(primal: bool, case: Case, upstream: Out) -> Gradients:
                self._primal = primal
                return adapter.vjp(case)[1](upstream)

            self._primal = False
            self._primal = _means_primal(lambda c: adapter.vjp(c)[0], gradients, case, out)
        return table if self._primal else other


def _handing_out(table: Roles, primals: Mapping[str, Any], cache: Any) -> Roles | None:
    """The table that hands out the cache where parameters are called like primals; None where it has another place."""
    if table.takes_cache or {"unknown", "cache-or-out", "bundle"} & set(table.of.values()):
        return None
    named = {p: r.partition(":")[2] for p, r in table.of.items() if r.startswith("primal:")}
    kept = [cache] if len(named) == 1 else list(cache) if isinstance(cache, (tuple, list)) else []
    if len(kept) != len(named) or not all(_alike(v, primals[n]) for v, n in zip(kept, named.values(), strict=True)):
        return None
    if all(v is primals[n] for v, n in zip(kept, named.values(), strict=True)):
        return None
    places = [""] if len(named) == 1 else [str(i) for i in range(len(named))]
    return replace(table, of={**table.of, **{p: f"kept:{i}" for p, i in zip(named, places, strict=True)}})


def _means_primal(
    forward: Callable[[Case], Out], gradients: Callable[[bool, Case, Out], Gradients], case: Case, out: Any
) -> bool:
    """Whether the backward is right if it is handed the primals, and wrong if it is handed what the forward kept.

    gradients  (whether primals are handed out, the case, an upstream) -> gradients
    """
    if isinstance(out, Mapping):
        return False
    rng = np.random.default_rng(0)
    wide = case.at({k: v.astype(float) for k, v in case.primals.items() if _real(v)})
    upstream = rng.uniform(0.5, 1.5, shape_of(out))
    real = {k: v.shape for k, v in wide.primals.items() if _real(v)}
    move = {k: rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape) for k, shape in real.items()}
    try:
        sides = []
        for sign in (1, -1):
            there = wide.at({k: wide.primals[k] + sign * STEP * v for k, v in move.items()})
            sides.append(float(np.sum(upstream * np.asarray(forward(there)))))
    except REFUSED:
        return False
    slope = (sides[0] - sides[1]) / (2 * STEP)
    primal = _gives(lambda: gradients(True, wide, upstream), move, slope)
    return primal and not _gives(lambda: gradients(False, wide, upstream), move, slope)


def _gives(gradients: Callable[[], Gradients], move: Arrays, slope: float) -> bool:
    """Whether the gradients are right along one direction, roughly."""
    try:
        parts = [np.asarray(g, float) * move[k] for k, g in gradients().items() if g is not None and k in move]
    except REFUSED:
        return False
    size = sum(float(np.sum(np.abs(p))) for p in parts)
    return abs(sum(float(np.sum(p)) for p in parts) - slope) <= CLOSE * max(size, abs(slope))


def _alike(kept: Any, primal: Any) -> bool:
    try:
        array = as_array(kept, "the cache")
    except AdapterError:
        return False
    return shape_of(primal) == array.shape and _real(array)


def _real(array: Array) -> bool:
    return array.dtype.kind == "f"
