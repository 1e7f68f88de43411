"""Neither forward nor backward writes into what it was given."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, exact, largest
from gradverify.errors import AdapterError
from gradverify.types import Array, Bench, Measurement, Run, leaves

DEPTH = 4  #: of containers within each other that are looked through


@registry.check("primals-unchanged", catches=("primal-mutated",), level="quick")
def primals_unchanged(bench: Bench) -> Iterator[Measurement]:
    """Forward and backward leave every primal and every constant as it was, to the bit.

    Arrays and numbers within a constant (``{"mask": mask}``) may be a workspace or running statistics: they count only
    where backward changes one and the forward then gives another output.
    Why: ``x -= x.max()`` in a softmax is invisible in its own gradient and wrong for whoever uses x next; a backward
    that writes into the cached input breaks the second call.
    Right: ``z = x - x.max()``. Wrong: ``x -= x.max()``, or ``dx = u; x[x < 0] = 0; dx *= x > 0``.
    """
    before = {**_arrays(bench.case.primals), **_arrays(bench.case.constants)}
    run = bench.run()
    received = {**run.given, **{k: v for k, v in run.constants.items() if k in before}}
    between, inside = _arrays(received), dict(_within(run.constants))
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
    yield from _inside(bench, run, inside)


def _inside(bench: Bench, run: Run, before: Mapping[str, Array]) -> Iterator[Measurement]:
    """Arrays and numbers within constants that backward changed, where the forward notices."""
    after = dict(_within(run.constants))
    changed = [k for k, v in before.items() if k in after and not np.array_equal(v, after[k], equal_nan=True)]
    if not changed:
        return
    with contextlib.suppress(AdapterError):
        out = leaves(bench.run(replace(bench.case, constants=dict(run.constants))).out)
        for k, old in leaves(run.out).items():
            if k in out and np.shape(out[k]) == np.shape(old) and np.size(old):
                yield Measurement(
                    of=f"output {k}".strip() + " after backward", got=np.array(out[k]), want=exact(old),
                    scale=largest(old), rounding=8 * bench.eps * largest(old),
                    why=f"backward changed {', '.join(changed)} in place: the forward gives another output then",
                    facts={"by": "backward"},
                )  # fmt: skip


def _within(value: Any, path: str = "", depth: int = DEPTH) -> Iterator[tuple[str, Array]]:
    """(path, copy) of arrays and numbers within containers among the constants; what is one itself is no part."""
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    )
    for key, member in items if depth else ():
        where = f"{path}[{key!r}]" if path else str(key)
        if isinstance(member, (np.ndarray, int, float)) and path and np.asarray(member).dtype.kind in "fciub":
            yield where, np.array(member)
        elif isinstance(member, (Mapping, list, tuple)):
            yield from _within(member, where, depth - 1)


def _arrays(values: Mapping[str, Any]) -> dict[str, Array]:
    """Copies of everything that is an array of numbers, as numbers that can be subtracted."""
    found = {k: _dense(v) for k, v in values.items() if isinstance(v, np.ndarray | list) or hasattr(v, "__array__")}
    return {
        k: np.array(v, dtype=complex if v.dtype.kind == "c" else float)
        for k, v in found.items()
        if v.dtype.kind in "fciub"
    }


def _dense(value: Any) -> Array:
    """Sparse tensors have an ``__array__`` that refuses."""
    return np.asarray(value if "sparse" not in str(getattr(value, "layout", "")) else value.to_dense())


def _changed(old: Array, new: Array) -> str:
    if old.shape != new.shape:
        return f"its shape went from {old.shape} to {new.shape}"
    return f"{int(np.sum(old != new))} of {old.size} entries"
