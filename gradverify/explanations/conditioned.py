"""A point at which the narrow type of the implementation leaves nothing of the gradient, though the code is right.

The gradient of eigenvectors divides by the gap of the eigenvalues: where that is as small as a rounding, every run with
other roundings gives other numbers, and larger roundings give no more of a spread than small ones, as a comparison
does that flips. What tells the two from a bug is the same code in float64 at the same numbers.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradverify.explanations._difference import Difference
from gradverify.sampling import quiet, widened
from gradverify.tally import largest
from gradverify.types import Array, leaves, like

NARROW = 1e-10  #: unit roundoffs above this have a wider type to be compared with
RIGHT = 1e-6  #: of the largest entry, to which the code in float64 must be right
NOTE = "the gradient of {0} is right in float64; in its own dtype its rounding is as large as itself at this point"


def explain(d: Difference) -> None:
    """All that random rounding does to the gradient in the allowance, where the same code in float64 is right."""
    c = d.asked
    if d.hopeless or d.name in c.missing or c.eps[d.name] < NARROW:
        return
    spread = c.rounding(d.name, wild=True)
    if np.any(d.now()[d.where()] > np.broadcast_to(spread, d.got.shape)[d.where()]):
        return  # no rounding explains that, whatever it is in float64
    wide, want = _in_float64(d), d.answer.estimate
    if wide is None or not np.all(np.abs(wide - want.value) <= want.error + RIGHT * largest(want.value)):
        return
    d.allowance = np.maximum(spread, d.allowance)
    d.answer.notes.append(NOTE.format(d.name))


def _in_float64(d: Difference) -> Array | None:
    """The gradient that the code gives in float64 at the very numbers of the case; None where it stays narrow."""
    c = d.asked
    case = replace(c.case.at({k: widened(v) for k, v in c.case.primals.items()}), upstream=None)
    if c.case.upstream is not None:
        given = c.case.upstream
        case = replace(case, upstream=like(given, {k: widened(np.asarray(v)) for k, v in leaves(given).items()}))
    case = replace(case, constants={k: widened(v) if _narrow(v) else v for k, v in case.constants.items()})
    try:
        with quiet():
            found = c.gradients(case).get(d.name)
    except Exception:  # noqa: BLE001  (code may be written for one dtype, and raise anything at another)
        return None
    if found is None or found.dtype not in (np.float64, np.complex128) or found.size != d.got.size:
        return None
    return np.asarray(found).reshape(d.got.shape)


def _narrow(v: object) -> bool:
    return isinstance(v, np.ndarray) and v.dtype.kind in "fc"
