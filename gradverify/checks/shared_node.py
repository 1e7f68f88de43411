"""An operation used twice in one graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._bounded import bounded
from gradverify.checks._inside import twice
from gradverify.checks._tools import (
    compared,
    copied,
    equal,
    exact,
    floats,
    gap_between,
    handed,
    largest,
    nearby,
    snapshot,
    spread_allowed,
)
from gradverify.errors import AdapterError, Unsupported
from gradverify.types import Adapter, Array, Bench, Gradients, Measurement, leaves

WHY = "is not the sum over its two uses when the operation is used twice in one graph"


@registry.check(
    "shared-node",
    catches=("stale-state", "aliased", "accumulated"),
    raises="stale-state",
    requires=("shape", "linear-in-upstream", "second-call-equal", "two-forwards-before-one-backward"),
)
def shared_node(bench: Bench) -> Iterator[Measurement]:
    """Used twice in one graph (shared weights, a residual, a diamond), each use gets its own gradient; they add up.

    An engine (torch, a tape) adds by itself: h + (h + f(x)) with h = f(x) must give three times the gradient of f(x).
    Functions are driven as a caller would: two forwards on the same arrays, where the shapes fit the second on the
    first one's own output, then both backwards, the last one first. A layer object is used twice where it keeps both
    forwards; one that keeps only the last forward is skipped.
    Why: an engine that writes ``grad = ...`` instead of ``grad += ...``, or goes back level by level in place of the
    reverse order of the forward, is right for a chain and wrong for a diamond;
    one output buffer for all calls overwrites the input that the next layer has saved.
    Right: ``self.grad += g``; ``out = x @ W``. Wrong: ``self.grad = g``; ``np.matmul(x, W, out=self.buffer)``.
    """
    doubled = twice(bench.adapter)
    if doubled is not None:
        yield from _within_the_engine(bench, doubled)
    elif hasattr(bench.adapter, "again"):
        yield from _on_one_object(bench)
    else:
        yield from _side_by_side(bench)
        yield from _chained(bench)


def _within_the_engine(bench: Bench, doubled: Adapter) -> Iterator[Measurement]:
    if getattr(bench, "declared", "") and bounded(bench, bench.upstream):
        raise Unsupported("backward bounds what it returns, as declared: its uses do not add up")
    alone = snapshot(bench.run().pullback(copied(bench.upstream)))
    try:
        out, pullback = doubled.vjp(bench.case)
    except AdapterError as error:
        raise Unsupported(f"it cannot be used twice on the same tensors: {error}") from error
    except Exception as error:
        raise Unsupported(f"its results cannot be added: {type(error).__name__}: {error}") from error
    one, both = leaves(bench.run().out), leaves(out)
    if not equal({k: 3 * v for k, v in one.items()}, both, bench.eps):
        raise Unsupported("the second use gives other numbers: it draws, keeps a state, or writes into its input")
    got = snapshot(pullback(copied(bench.upstream)))
    want = {k: None if g is None else 3 * g for k, g in alone.items()}
    yield from compared(bench, got, want, "used twice, h + (h + f(x))", WHY, times=2.0, facts={"uses": 2})


def _side_by_side(bench: Bench) -> Iterator[Measurement]:
    """Two forwards on the very same arrays, then both backwards, the last one first."""
    shared = bench.case.thawed()
    case = handed(bench.case, lambda _: shared)
    alone = snapshot(bench.run().pullback(copied(bench.upstream)))
    first = bench.run(case)
    before = {k: np.array(v) for k, v in leaves(first.out).items()}
    with contextlib.suppress(AdapterError):  # the point beside may be outside the domain
        bench.run(nearby(bench.case, bench.rng))
        for k, v in leaves(first.out).items():
            if before[k].size and np.all(np.isfinite(before[k])):
                yield Measurement(
                    of=f"output {k}".strip() + " of the first use", got=np.array(v), want=exact(before[k]),
                    scale=largest(before[k]), facts={"uses": 2},
                    why="a later forward wrote into the output of an earlier one: all calls return the same memory",
                )  # fmt: skip
    second = bench.run(case)
    late, early = second.pullback(copied(bench.upstream)), first.pullback(copied(bench.upstream))
    total = {k: _sum(g, late.get(k)) for k, g in early.items()}
    want = {k: None if g is None else 2 * g for k, g in alone.items()}
    yield from compared(bench, total, want, "used twice on the same arrays", WHY, times=2.0, facts={"uses": 2})


def _chained(bench: Bench) -> Iterator[Measurement]:
    """f(f(x)): the second use is given the first one's own output, where it has the shape of one primal alone."""
    first = bench.run()
    parts = leaves(first.out)
    out = next(iter(parts.values())) if len(parts) == 1 else None
    fits = [k for k, v in floats(bench.case.primals).items() if out is not None and _alike(v, np.asarray(out))]
    if not fits or out is None or not np.all(np.isfinite(out)):
        return
    name, value = fits[0], np.array(out)
    alone = bench.case.at({name: value})
    try:
        want = snapshot(bench.run(alone).pullback(copied(bench.upstream)))
    except AdapterError:
        return  # the output is outside the domain of the forward
    second = bench.run(handed(alone, lambda given: {**given, name: out}))
    got = snapshot(second.pullback(copied(bench.upstream)))
    facts = {"uses": 2, "chained": name}
    yield from compared(
        bench, got, want, f"f(f({name})), the outer use", "is another one when the operation is given its own output",
        times=4.0, facts=facts, bound=_wide(bench, want, got),
    )  # fmt: skip
    between = want.get(name)
    if between is None or not np.all(np.isfinite(between)):
        return
    inner = snapshot(first.pullback(np.array(between)))
    apart = snapshot(bench.run().pullback(np.array(between)))
    if not getattr(bench.adapter, "returns_cache", True) and not _close(bench, inner, apart):
        raise Unsupported(
            "forward keeps its cache to itself, of the last call only: return (out, cache) to use the operation twice"
        )
    yield from compared(
        bench, inner, apart, f"f(f({name})), the inner use",
        "is another one when the operation was used again on its output before its backward",
        facts=facts, bound=_wide(bench, apart, inner),
    )  # fmt: skip


def _wide(bench: Bench, want: Gradients, got: Gradients) -> dict[str, float]:
    """What another point may round differently: relative to the numbers themselves, as no rounding is known there."""
    allowed = {}
    for k, g in want.items():
        if g is not None:
            least = 1e4 * bench.eps * largest(g)
            measured = gap_between(g, got.get(k)) > least
            allowed[k] = max(4 * spread_allowed(bench, k, g), least) if measured else least
    return allowed


def _alike(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype


def _on_one_object(bench: Bench) -> Iterator[Measurement]:
    """Two forwards on one object with other inputs, then both backwards, the last one first."""
    own: dict[str, Array] = getattr(bench.adapter, "parameters", dict)()
    upstream = bench.upstream
    other = nearby(bench.case, bench.rng).at({k: v for k, v in bench.case.primals.items() if k in own})
    fed = [k for k in floats(bench.case.primals) if k not in own]
    run = bench.run()
    try:
        out_b, pull_b = bench.adapter.again(run, other)  # type: ignore[attr-defined]  # asked for by the caller
        want_b = bench.run(other)
    except AdapterError as error:
        raise Unsupported(f"it cannot run forward twice on one object: {error}") from error
    if not fed or equal(out_b, run.out, bench.eps):
        raise Unsupported("no input that differs between two uses: all primals are parameters of the object")
    if not equal(out_b, want_b.out, bench.eps):
        raise Unsupported("the second forward on the same object is another function: it keeps a state")
    alone_a = snapshot(bench.run().pullback(copied(upstream)))
    alone_b = snapshot(want_b.pullback(copied(upstream)))
    try:
        got_b = snapshot(pull_b(copied(upstream)))
        got_a = snapshot(run.pullback(copied(upstream)))
    except AdapterError as error:
        raise Unsupported(f"{LAST}: {error}") from error
    told = {k: _which(bench, k, got_a.get(k), alone_a[k], alone_b.get(k)) for k in alone_a}
    if _close(bench, got_b, alone_a) and _close(bench, got_a, alone_b):
        raise Unsupported("it answers for its forwards in their order, the first one first: that is a queue")
    if "last" in told.values():
        raise Unsupported(LAST)
    yield from compared(
        bench, got_b, alone_b, "used twice on one object, the last use", WHY, times=4.0, facts={"uses": 2}
    )
    yield from compared(
        bench, got_a, {k: g if told[k] != "both" else _sum(g, alone_b[k]) for k, g in alone_a.items()},
        "used twice on one object, the first use", WHY, times=4.0, facts={"uses": 2}, notes=lambda k: SAID[told[k]],
    )  # fmt: skip


LAST = "it keeps only its last forward: call backward before the next forward, or give each use a copy of its own"
SAID = {
    "both": ("the object adds up the gradients of both uses",),
    "own": ("each use gives its own gradient: whoever uses the object twice adds them up",),
    "neither": (),
}


def _which(bench: Bench, name: str, got: Array | None, a: Array | None, b: Array | None) -> str:
    """Whose gradient the first use returns after that of the last use: its "own", that of "both", or the "last" one's.

    Twice that of the last use is what an object with one cache adds up. Equal gradients of both uses tell nothing.
    """
    if _close(bench, {name: got}, {name: a}):
        return "own"
    if a is None or b is None:
        return "neither"
    if _close(bench, {name: got}, {name: a + b}):
        return "both"
    last = any(_close(bench, {name: got}, {name: times * b}) for times in (1, 2))
    return "last" if last else "neither"


def _sum(a: Array | None, b: Array | None) -> Array | None:
    return None if a is None or b is None else a + b


def _close(bench: Bench, got: Gradients, want: Gradients) -> bool:
    for k, b in want.items():
        a = got.get(k)
        if a is None or b is None or a.shape != b.shape:
            if a is not b:
                return False
        elif not np.all(np.abs(a - b) <= 4 * spread_allowed(bench, k, a, b)):
            return False
    return True
