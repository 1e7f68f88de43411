"""The upstream gradient may lie in memory in any way."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._layouts import LAYOUTS, refused
from gradverify.checks._tools import compared, copied, each, overwritten, snapshot, traits
from gradverify.errors import Unsupported
from gradverify.types import Array, Bench, Gradients, Measurement, Out, leaves, like


@registry.check(
    "upstream-layouts",
    catches=("layout", "upstream-mutated"),
    raises="layout",
    requires=("shape", "upstream-unchanged", "deterministic"),
)
def upstream_layouts(bench: Bench) -> Iterator[Measurement]:
    """The gradient does not depend on the memory layout of the upstream, only on its numbers.

    Layouts: Fortran order, strided, negative strides, 0-d view, read-only, and expanded (stride 0), each against a
    contiguous copy of the same numbers. Code that refuses a layout by a ``raise`` or ``assert`` of its own is noted: it
    returns no wrong number.
    Why: ``y.sum()`` hands back an expanded upstream and ``y.T`` a transposed one; a backward that reads the raw
    buffer, or reshapes in memory order, is right in its unit test and wrong inside a network. The upstream is looked at
    afterwards, too: ``np.asfortranarray(g)`` is g itself where g is in Fortran order.
    Right: ``upstream.reshape(n, -1)``. Wrong: ``upstream.ravel(order="K").reshape(n, -1)``.
    """
    if "no-upstream" in traits(bench):
        raise Unsupported("backward takes no upstream")
    plain = snapshot(bench.run().pullback(copied(bench.upstream)))
    for words, arrange in LAYOUTS.items():
        if words == "with negative strides" and "engine" in traits(bench):
            continue  # torch has none, so nothing reaches the user's code
        arranged = {k: arrange(np.asarray(v)) for k, v in leaves(bench.upstream).items()}
        if all(v is None for v in arranged.values()):
            continue
        parts = {k: np.array(u) if (v := arranged[k]) is None else v for k, u in leaves(bench.upstream).items()}
        yield from _layout(bench, like(bench.upstream, parts), words, plain)
    for words, constant in _expanded(bench.upstream):
        dense = snapshot(bench.run().pullback(copied(constant)))
        yield from _layout(bench, constant, words, dense, times=4.0)


def _layout(bench: Bench, upstream: Out, words: str, plain: Gradients, times: float = 1.0) -> Iterator[Measurement]:
    """The gradients for an upstream in some layout against ``plain``; a refusal in words is a note."""
    before = copied(upstream)
    try:
        got = snapshot(bench.run().pullback(upstream))
    except Exception as error:
        note = refused(error, "the upstream", words)
        if note is None:
            raise
        yield note
        return
    for m in overwritten(before, upstream, f"upstream {words}", layout=words):
        if not np.array_equal(m.got, m.want.value, equal_nan=True):  # ``np.asfortranarray(g)`` may be g itself
            yield m
    yield from compared(
        bench, got, plain, f"upstream {words}",
        f"depends on the layout of the upstream: it is another one when the same numbers come {words}",
        times=times, facts={"layout": words},
    )  # fmt: skip


def _expanded(upstream: Out) -> Iterator[tuple[str, Out]]:
    """Upstreams with stride 0: along every axis, and along the first one only; magnitudes stay."""

    def everywhere(a: Array) -> Array:
        size = np.sqrt(np.mean(np.abs(a) ** 2)) if a.size else 1.0
        return np.broadcast_to(np.asarray(size, dtype=a.dtype), a.shape)

    axes = [np.asarray(a) for a in leaves(upstream).values()]
    if any(a.size > 1 for a in axes):
        yield "expanded (stride 0)", each(upstream, everywhere)
    if any(a.ndim > 1 and a.shape[0] > 1 for a in axes):
        yield (
            "expanded along the first axis (stride 0)",
            each(upstream, lambda a: np.broadcast_to(a[:1].copy(), a.shape) if a.ndim else np.array(a)),
        )
