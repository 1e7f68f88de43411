"""Neither forward nor backward writes into what it was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, exact
from gradverify.types import Array, Bench, Measurement


@registry.check("primals-unchanged", catches=("primal-mutated",), level="quick")
def primals_unchanged(bench: Bench) -> Iterator[Measurement]:
    """Forward and backward leave every primal and every constant as it was, to the bit.

    Why: ``x -= x.max()`` in a softmax is invisible in its own gradient and wrong for whoever uses x next; a backward
    that writes into the cached input breaks the second call.
    Right: ``z = x - x.max()``. Wrong: ``x -= x.max()``, or ``dx = u; x[x < 0] = 0; dx *= x > 0``.
    """
    before = {**_arrays(bench.case.primals), **_arrays(bench.case.constants)}
    run = bench.run()
    received = {**run.given, **{k: v for k, v in run.constants.items() if k in before}}
    between = _arrays(received)
    run.pullback(copied(bench.upstream))
    after = _arrays(received)
    for name in received:
        if name not in before or not before[name].size:
            continue
        for who, old, new in (("forward", before[name], between[name]), ("backward", between[name], after[name])):
            yield Measurement(
                of=f"{name} after {who}", got=new, want=exact(old), scale=float(np.max(np.abs(old))),
                why=f"{who} changed {name} in place: {_changed(old, new)}", facts={"primal": name, "by": who},
            )  # fmt: skip


def _arrays(values: Mapping[str, Any]) -> dict[str, Array]:
    """Copies of everything that is an array of numbers, as numbers that can be subtracted."""
    found = {k: np.asarray(v) for k, v in values.items() if isinstance(v, np.ndarray | list) or hasattr(v, "__array__")}
    return {
        k: np.array(v, dtype=complex if v.dtype.kind == "c" else float)
        for k, v in found.items()
        if v.dtype.kind in "fciub"
    }


def _changed(old: Array, new: Array) -> str:
    if old.shape != new.shape:
        return f"its shape went from {old.shape} to {new.shape}"
    return f"{int(np.sum(old != new))} of {old.size} entries"
