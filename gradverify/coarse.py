"""Arithmetic that is coarser than its dtype says: tensor cores (TF32), fused kernels, a cast to a narrower type inside.

Random rounding knows the operations that it sees. What a kernel does inside one of them shows in the forward: it is off
from the same forward in float64 by more than all the roundings that were simulated, and the backward is made of the
same kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradverify.rounding import jittered, noise
from gradverify.sampling import quiet
from gradverify.types import Case, Out, leaves

RUNS = 3
SHOWN = 2.0  #: times the simulated rounding that the forward must be off before it says anything
WORTH_A_NOTE = 8.0  #: ... and before it shows other arithmetic than the dtype's
CAST = 64.0  #: roundings that an output must be off by before casts show in it
TENSOR_CORES = 2.0**-10  #: unit roundoff of what these round their inputs to
NOTE = "the forward is {0:.0f} times coarser than rounding of its dtype explains (TF32, a cast inside?): judged to that"

CAST_NOTE = "the forward casts to a type with a unit roundoff of {0:.1e} by itself: judged to that"


def coarseness(
    forward: Callable[[Case], Out],
    case: Case,
    own: Out,
    truth: Out,
    *,
    framework: str,
    coarsest: float,
    rng: np.random.Generator,
) -> float:
    """Error of the forward over its simulated rounding, at least 1; 1 where nothing can be said.

    own, truth  what the forward gives in its own dtype and in float64, at the very same numbers
    """  # fmt: skip
    apart = _distance(own, truth)
    if not apart > 0:
        return 1.0
    spread = coarsest * _size(own)  # at least: code may well leave the arrays that round at random
    try:
        with quiet():
            for _ in range(RUNS):
                with noise(rng, 1.0, framework, coarsest):
                    there = forward(jittered(case, framework))
                spread = max(spread, _distance(there, own))
    except Exception:  # noqa: BLE001  (user code on an ndarray subclass may fail in any way: nothing is learned)
        return 1.0
    return apart / spread if spread > 0 and apart > SHOWN * spread else 1.0


def cast_to(own: Out, truth: Out, narrower: tuple[float, ...], eps: float) -> float:
    """Unit roundoff of the narrower type that a forward casts to by itself, where its output shows that; else 0.

    own, truth  what it gives, and what it gives in float64 without these casts
    narrower    unit roundoffs of the types that it casts to, the finest first;  eps  that of its own dtype
    """
    apart, size = _distance(own, truth), _size(own)
    if not narrower or not apart > CAST * eps * size:
        return 0.0
    return next((e for e in narrower if apart <= CAST * e * size), narrower[-1])


def _size(out: Out) -> float:
    values = [np.abs(np.asarray(v)) for v in leaves(out).values()]
    return float(sum(np.sum(v[np.isfinite(v)].astype(float) ** 2) for v in values) ** 0.5)


def _distance(one: Out, other: Out) -> float:
    """Root of the sum of the squared differences of what is finite in both; 0 for outputs of different form."""
    a, b = leaves(one), leaves(other)
    total = 0.0
    for k, v in a.items():
        if k not in b or np.shape(b[k]) != np.shape(v):
            return 0.0
        x, y = (np.asarray(w, dtype=complex if np.iscomplexobj(w) else float) for w in (v, b[k]))
        with np.errstate(all="ignore"):
            gap = np.abs(x - y)
        total += float(np.sum(gap[np.isfinite(gap)] ** 2))
    return float(total**0.5)
