"""A backward belongs to its own forward."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import compared, copied, equal, nearby, snapshot, spread_allowed, traits
from gradverify.errors import AdapterError, Unsupported
from gradverify.types import Array, Bench, Case, Gradients, Measurement


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
    design (a layer object, a forward that returns no cache) is not failed for it; the note says what to do. A
    torch.nn.Module is: its caller uses it twice and then calls backward, as for any other module.
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
    if not getattr(bench.adapter, "returns_cache", True) and not _all_close(bench, at_a, alone):
        # no cache passes through the caller's hands: like a layer object, the last forward owns it by design
        said = ("forward keeps its cache to itself, of the last call only: call backward before the next forward",)
        yield from compared(bench, at_b, alone_b, "backward after the last of two forwards", why, times=4.0,
                            facts={"forwards": 2}, notes=lambda _: said)  # fmt: skip
        return
    yield from compared(bench, at_a, alone, "backward of the first of two forwards", why, facts={"forwards": 2})
    yield from compared(
        bench, at_b, alone_b, "backward of the second of two forwards", why, times=4.0, facts={"forwards": 2}
    )
    if not hasattr(bench.adapter, "again"):
        return
    own: dict[str, Array] = getattr(bench.adapter, "parameters", dict)()
    if any(k not in own for k in bench.case.primals):
        # the weights of a layer that is used twice are the same: nobody changes them before its backward
        other = other.at({k: v for k, v in bench.case.primals.items() if k in own})
        alone_b = snapshot(bench.run(other).pullback(copied(upstream)))
    kept, late = True, _on_one_object(bench, other, of_last=False)
    if "engine" in traits(bench):  # a module is used twice before backward wherever weights are shared
        if late is not None:
            yield from compared(bench, late, alone, "two forwards on one module", why, times=4.0,
                                facts={"forwards": 2, "one_object": True})  # fmt: skip
        return
    if late is not None and not _all_close(bench, late, alone):
        # the last forward owns the object: then its own backward must be right there
        kept = False
        late = late if _all_close(bench, late, alone_b) else _on_one_object(bench, other, of_last=True)
    if late is None:
        return
    told: tuple[str, ...] = (
        () if kept else ("the object keeps the cache of its last forward: call backward before the next forward",)
    )
    yield from compared(
        bench, late, alone if kept else alone_b, "two forwards on one object",
        "is that of neither forward when the object runs forward twice before backward",
        times=4.0, facts={"forwards": 2, "one_object": True}, notes=lambda _: told,
    )  # fmt: skip


def _on_one_object(bench: Bench, other: Case, *, of_last: bool) -> Gradients | None:
    """Gradients of the first (or last) of two forwards on one object; None where it cannot be asked for them."""
    run = bench.run()
    try:
        out_b, pullback_b = bench.adapter.again(run, other)  # type: ignore[attr-defined]  # optional member, asked for
        if not equal(out_b, bench.run(other).out, bench.eps):
            return None  # the forward itself has state (a generator, a hidden state): it is another function then
        return snapshot((pullback_b if of_last else run.pullback)(copied(bench.upstream)))
    except AdapterError:
        return None  # an object that collects several forwards by design, or cannot run twice


def _all_close(bench: Bench, got: Gradients, want: Gradients) -> bool:
    return all(_close(bench, k, got, want) for k in want)


def _close(bench: Bench, name: str, got: Gradients, want: Gradients) -> bool:
    a, b = got.get(name), want[name]
    if a is None or b is None:
        return a is b
    return bool(np.all(np.abs(a - b) <= spread_allowed(bench, name, a, b)))
