"""A backward belongs to its own forward."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import compared, copied, equal, nearby, snapshot, spread_allowed
from gradverify.errors import AdapterError, Unsupported
from gradverify.types import Bench, Gradients, Measurement


@registry.check(
    "two-forwards-before-one-backward",
    catches=("stale-state",),
    raises="stale-state",
    requires=("shape", "second-call-equal"),
)
def two_forwards_before_one_backward(bench: Bench) -> Iterator[Measurement]:
    """After forward at A and forward at B, the pullback of A still gives the gradient at A, and that of B the one at B.

    Why: shared weights, recurrent networks and gradient penalties call a layer twice before its backward. A cache in a
    module-level variable or a class attribute belongs to the last forward. Code that keeps one cache to itself by
    design (a layer object, a forward that returns no cache) is not failed for it; the note says what to do.
    Right: forward returns ``(out, cache)``. Wrong: the same, with one buffer behind every cache.
    """
    other = nearby(bench.case, bench.rng)
    upstream = bench.upstream
    try:
        bench.run(other)
    except AdapterError as error:
        raise Unsupported(f"the point beside is outside the domain of the forward: {error}") from error
    alone = snapshot(bench.run().pullback(copied(upstream)))
    alone_b = snapshot(bench.run(other).pullback(copied(upstream)))
    first, second = bench.run(), bench.run(other)
    at_a, at_b = snapshot(first.pullback(copied(upstream))), snapshot(second.pullback(copied(upstream)))
    why = "is that of another forward: a second forward before backward replaced the cache"
    if not getattr(bench.adapter, "returns_cache", True) and not all(_close(bench, k, at_a, alone) for k in alone):
        # no cache passes through the caller's hands: like a layer object, the last forward owns it by design
        said = ("forward keeps its cache to itself, of the last call only: call backward before the next forward",)
        yield from compared(bench, at_b, alone_b, "backward after the last of two forwards", why, times=4.0,
                            facts={"forwards": 2}, notes=lambda _: said)  # fmt: skip
        return
    yield from compared(bench, at_a, alone, "backward of the first of two forwards", why, facts={"forwards": 2})
    yield from compared(
        bench, at_b, alone_b, "backward of the second of two forwards", why, times=4.0, facts={"forwards": 2}
    )
    again = getattr(bench.adapter, "again", None)
    if again is None:
        return
    run = bench.run()
    try:
        out_b, _ = again(run, other)
    except AdapterError:
        return  # an object that collects several forwards by design, or cannot run twice
    if not equal(out_b, bench.run(other).out, bench.eps):
        return  # the forward itself has state (a generator, a hidden state): it is another function the second time
    try:
        late = snapshot(run.pullback(copied(upstream)))
    except AdapterError:
        return
    kept = all(_close(bench, k, late, alone) for k in alone)
    told: tuple[str, ...] = (
        () if kept else ("the object keeps the cache of its last forward: call backward before the next forward",)
    )
    yield from compared(
        bench, late, alone if kept else alone_b, "two forwards on one object",
        "is that of neither forward when the object runs forward twice before backward",
        times=4.0, facts={"forwards": 2, "one_object": True}, notes=lambda _: told,
    )  # fmt: skip


def _close(bench: Bench, name: str, got: Gradients, want: Gradients) -> bool:
    a, b = got.get(name), want[name]
    if a is None or b is None:
        return a is b
    return bool(np.all(np.abs(a - b) <= spread_allowed(bench, name, a, b)))
