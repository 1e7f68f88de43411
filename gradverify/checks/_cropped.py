"""Whether a forward takes a part only of a primal at other lengths of the others."""

from __future__ import annotations

import numpy as np

from gradverify.checks._axes import Axes
from gradverify.checks._tools import floats
from gradverify.sampling import evaluate, quiet
from gradverify.types import Array, Bench, Case, leaves

TRIES = 6  #: numbers of either sign that are put in: a unit that is dead for one of them is not for all


def cropped(bench: Bench, case: Case, axes: Axes) -> str:
    """A primal that is not resized, and ends or begins with what the output does not depend on any more; "" for none.

    case  where some axes have another length. Indices choose what is used: where one is resized nothing is said.
    """
    if not all(np.asarray({**case.constants, **case.primals}[k]).dtype.kind in "fc" for k in axes):
        return ""
    for name, v in floats(case.primals).items():
        ends = [(a, end) for a in range(v.ndim) for end in (0, -1) if v.shape[a] > 1 and name not in axes]
        if any(_used(bench, bench.case, name, *at) and not _used(bench, case, name, *at) for at in ends):
            return name
    return ""


def _used(bench: Bench, case: Case, name: str, axis: int, end: int) -> bool:
    """Whether the output is another one where the first or last entries along an axis are others."""
    given = case.primals[name]
    size = float(np.max(np.abs(given), initial=0.0)) or 1.0
    now = _out(bench, case)
    for put in (np.nan, *(bench.rng.uniform(-2, 2, TRIES) * size)):
        other = np.array(given)
        np.moveaxis(other, axis, 0)[end] = put
        try:
            then = _out(bench, case.at({name: other}))
        except Exception:  # noqa: BLE001  (whatever it raises at such a number, it has looked at it)
            return True
        if any(not np.array_equal(now[k], then[k]) for k in now):
            return True
    return False


def _out(bench: Bench, case: Case) -> dict[str, Array]:
    with quiet():
        return dict(leaves(evaluate(bench.adapter, case)))
