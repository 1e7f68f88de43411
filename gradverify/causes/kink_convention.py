"""Another value at a kink."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._pair import Pair
from gradverify.causes._tools import experiment, pair
from gradverify.types import Array, Cause, Evidence, Measurement

BESIDE = 1e-4  #: of the largest entry, as far as the zeros are moved


@registry.cause("kink-convention")
def kink_convention(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient differs only at kinks or ties of the forward, and lies outside the one-sided derivatives there."""
    p = pair(m, ev)
    if p is None or not p.alike:
        return None
    wrong = p.wrong
    n = int(np.sum(wrong))
    if m.lower is not None and m.upper is not None and np.all((m.upper > m.lower)[wrong]):
        i = tuple(int(x) for x in np.argwhere(wrong)[0])
        return _cause(
            f"all {n} wrong entries lie at kinks; at {list(i)} got {p.got[i]:.6g}, the one-sided derivatives are "
            f"{m.lower[i]:.6g} and {m.upper[i]:.6g}", 0.95,
        )  # fmt: skip
    primal = ev.case.primals.get(p.name)
    if (
        primal is not None
        and primal.shape == p.got.shape
        and np.any(~wrong)
        and np.all(primal[wrong] == 0)
        and np.all(primal[~wrong] != 0)
        and not _wrong_beside(p, ev, primal)
    ):
        return _cause(f"all {n} wrong entries, and no others, have {p.name} = 0", 0.6)
    return None


def _wrong_beside(p: Pair, ev: Evidence, primal: Array) -> bool:
    """Whether the same entries are as wrong a little off zero, where no convention is asked for."""
    size = float(np.max(np.abs(primal), initial=0.0)) or 1.0
    beside = experiment(ev, {p.name: np.where(p.wrong, BESIDE * size, primal).astype(primal.dtype)})
    got = None if beside is None else beside.get(p.name)
    if got is None or np.shape(got) != p.got.shape:
        return False
    moved = np.abs(np.asarray(got, dtype=float) - p.got)[p.wrong]
    return bool(np.all(moved < 0.5 * np.abs(p.got - p.want)[p.wrong]))


def _cause(evidence: str, confidence: float) -> Cause:
    return Cause(
        name="kink-convention",
        evidence=evidence,
        suggestion="choose a value between the one-sided derivatives: 0 for relu at 0, one winner or a split at ties",
        confidence=confidence,
    )
