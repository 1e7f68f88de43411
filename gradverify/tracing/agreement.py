"""Does the traced value equal the plain one? If not, something left the graph unseen, and the trace is void."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradverify.tally import largest
from gradverify.tracing.escape import Escaped
from gradverify.types import Array, Out, leaves, like

LOOSE = 4096.0  #: roundings that a forward may gather relative to its largest output
CONDITION = 1024.0  #: the same relative to the effect of one rounding of the inputs
ASKED = 16  #: so many entries are asked for their condition before giving up


def tolerance(dtype: Any) -> float:
    """Relative: 1e-9 in float64; 5e-4 in float32; at most 0.1."""
    return float(min(max(1e-9, LOOSE * float(np.finfo(dtype).eps)), 0.1))


def require_agreement(
    traced: Out,
    plain: Out,
    vjp: Callable[[Out], Mapping[str, Array | None]],
    primals: Mapping[str, Array],
    coarsest: Any,
) -> None:
    """Raises Escaped unless ``|traced - plain|`` is within rounding of the dtype that the forward computes in.

    An output that is a small difference of large numbers is allowed what one rounding of its inputs does to it,
    ``eps * sum |d out / d x| |x|``, times ``CONDITION``.
    """
    ours = leaves(traced)
    theirs = {k: np.asarray(v) for k, v in leaves(plain).items()}
    if ours.keys() != theirs.keys():
        raise Escaped(f"the traced forward returned {sorted(ours)} and the plain one {sorted(theirs)}")
    kinds = [coarsest, *(v.dtype for v in theirs.values() if v.dtype.kind == "f")]
    coarse = max(kinds, key=lambda d: float(np.finfo(d).eps))
    for name, want in theirs.items():
        got = ours[name]
        if got.shape != want.shape:
            raise Escaped(f"the traced output has shape {got.shape} and the plain one {want.shape}")
        wide = want.astype(float)
        scale = largest(wide)
        if not want.size or np.max(np.abs(got - wide)) <= tolerance(coarse) * scale:  # NaN is not
            continue
        with np.errstate(invalid="ignore"):
            gap = np.where((got == wide) | (np.isnan(got) & np.isnan(wide)), 0.0, np.abs(got - wide))
        off = np.argwhere(~(gap <= tolerance(coarse) * (np.abs(wide) + scale)))
        for index in off[:ASKED]:
            place = tuple(int(i) for i in index)
            units = {k: np.zeros(v.shape) for k, v in ours.items()}
            units[name][place] = 1.0
            row = vjp(like(traced, units))
            effect = sum(
                float(np.sum(np.abs(g * primals[k]))) for k, g in row.items() if g is not None and k in primals
            )
            if not gap[place] <= CONDITION * float(np.finfo(coarse).eps) * effect:
                raise Escaped(
                    f"the traced value {got[place]:.17g} differs from the plain one {wide[place]:.17g} at {list(place)}"
                    ": something in the forward is not what it is on plain arrays"
                )
        if len(off) > ASKED:
            raise Escaped(f"the traced value differs from the plain one in {len(off)} entries of {want.size}")
