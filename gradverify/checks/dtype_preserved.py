"""A gradient is as precise as its primal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, count
from gradverify.types import Array, Bench, Measurement, differentiable, leaves


def digits(dtype: np.dtype[Any]) -> int:
    """Bits of the significand; 0 for integers, which cannot hold a gradient."""
    return int(np.finfo(dtype).nmant) + 1 if dtype.kind in "fc" else 0


@registry.check("dtype-preserved", catches=("dtype",), requires=("shape",), level="quick")
def dtype_preserved(bench: Bench) -> Iterator[Measurement]:
    """A float64 primal gets a float64 gradient: no narrower buffer, no integer array, on the way back.

    Why: ``np.zeros(shape, dtype=np.float32)`` as an accumulator throws away half the digits, an integer one all of
    them, and an engine casts the result back before anybody looks. Code that computes in float32 from the start
    (its output is float32 too) is left alone and noted; so is a gradient wider than its primal.
    Right: ``dx = np.zeros_like(x)``. Wrong: ``dx = np.zeros(x.shape, np.float32)`` for a float64 x.
    """
    run = bench.run()
    gradients = run.pullback(copied(bench.upstream))
    outputs = [np.asarray(v).dtype for v in leaves(run.out).values()]
    computes = min((digits(d) for d in outputs if d.kind in "fc"), default=64)
    for name, primal in bench.case.primals.items():
        gradient = gradients.get(name)
        if gradient is None or not differentiable(primal):
            continue
        kind, notes = np.asarray(gradient).dtype, _notes(name, np.asarray(gradient), primal, computes)
        yield count(
            name, digits(kind), f"the gradient of {name} is {kind}, {name} is {primal.dtype}",
            want=digits(kind) if notes else digits(primal.dtype), notes=notes,
            facts={"primal": name, "got_dtype": str(kind), "want_dtype": str(primal.dtype)},
        )  # fmt: skip


def _notes(name: str, gradient: Array, primal: Array, computes: int) -> tuple[str, ...]:
    """The legal departures from the primal's dtype, in words; empty where there is none."""
    got, want = digits(gradient.dtype), digits(primal.dtype)
    if got > want:
        return (f"the gradient of {name} is {gradient.dtype}, wider than {name} ({primal.dtype})",)
    if not gradient.shape and got == 0 and not primal.shape:
        return (f"the gradient of {name} is the number {gradient}, an integer that stands for a float",)
    if 0 < computes <= got < want:
        return (f"the implementation computes in {gradient.dtype} throughout, although {name} is {primal.dtype}",)
    return ()
