"""The mask of a kinked activation is another one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.causes._tools import pair
from gradverify.causes._what_if import played_through
from gradverify.types import Array, Cause, Evidence, Measurement, leaves

SUGGESTION = "keep the mask of the forward's own input, x > 0, before anything overwrites it"


@registry.cause("wrong-mask")
def wrong_mask(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is upstream times a mask, but not the mask of the forward."""
    found = played_through(m, ev, "wrong-mask", SUGGESTION)
    p = pair(m, ev)
    if found is not None or p is None or not p.alike or p.got.size < 3:
        return found
    for k, v in leaves(ev.upstream).items():
        u = np.asarray(v, dtype=float)
        if u.shape != p.got.shape:
            continue
        for words, mask in _masks(p.name, u, k, ev):
            if p.is_(u * mask) and np.any(mask) and not np.all(mask):
                return Cause(
                    name="wrong-mask",
                    evidence=f"got is upstream * ({words}) in all {p.got.size} entries; want is not "
                    f"in {int(np.sum(p.wrong))}",
                    suggestion=SUGGESTION,
                    confidence=0.95,
                )
    return None


def _masks(name: str, upstream: Array, leaf: str, ev: Evidence) -> Iterator[tuple[str, Array]]:
    arrays = {"upstream": upstream, "out": np.asarray(leaves(ev.out)[leaf], dtype=float)}
    if name in ev.case.primals:
        arrays[name] = np.asarray(ev.case.primals[name], dtype=float)
    for k, v in arrays.items():
        if v.shape == upstream.shape:
            yield from (
                (f"{k} > 0", v > 0),
                (f"{k} < 0", v < 0),
                (f"{k} <= 0", v <= 0),
                (f"{k} > 1", v > 1),
                (f"{k} < 1", v < 1),
            )
