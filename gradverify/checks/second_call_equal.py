"""A pullback can be called again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import compared, copied, drawn_like, equal, largest, snapshot, spread_allowed, traits
from gradverify.errors import AdapterError, Unsupported
from gradverify.types import Array, Bench, Gradients, Measurement


@registry.check(
    "second-call-equal",
    catches=("accumulated", "stale-state"),
    raises="stale-state",
    requires=("shape", "upstream-unchanged", "deterministic"),
)
def second_callequal(bench: Bench) -> Iterator[Measurement]:
    """The same pullback with the same upstream gives the same gradients again, and does not overwrite the first ones.

    Then, where the adapter can run forward and backward again on the very same object, so does that. Gradients that an
    object keeps are added to (``self.dW += ...``) or replaced (``self.dW = ...``): a convention, noted for each. Code
    that raises when backward is called again is left alone: it returns no wrong number.
    Right: ``self.dW = delta.T @ x``. Wrong: ``cache["x"] *= mask`` inside backward, or one buffer for every call.
    """
    run = bench.run()
    kept = run.pullback(copied(bench.upstream))
    first = snapshot(kept)
    yield from compared(
        bench, first, bench.gradients(), "another first call", "is not what it was in the first run of all",
        facts={"calls": 1}, times=2.0,
    )  # fmt: skip
    try:
        second = snapshot(run.pullback(copied(bench.upstream)))
    except AdapterError as error:
        yield from _again(bench, first)  # code that takes its cache back says so, loudly: no wrong number
        raise Unsupported(f"backward runs once per forward: {error}") from error
    added = frozenset(k for k in first if _stored(bench, k) and _doubled(bench, k, first, second))
    yield from compared(
        bench, _increment(second, first, added), first, "second call", "changes when the same pullback is called again",
        facts={"calls": 2}, notes=lambda k: _kept(bench, k, added=k in added),
    )  # fmt: skip
    other = drawn_like(bench.upstream, bench.rng)
    later = snapshot(run.pullback(copied(other)))
    mine = [k for k in first if not _stored(bench, k)]
    yield from compared(
        bench, {k: kept[k] for k in mine}, {k: first[k] for k in mine}, "first result, after a later call",
        "is overwritten by a later call of the pullback: every call returns the same memory",
        bound=dict.fromkeys(first, 0.0), facts={"reused": True},
    )  # fmt: skip
    fresh = snapshot(bench.run().pullback(copied(other)))
    mine += [k for k in first if k not in mine and not _piled(bench, k, later, first, fresh)]
    yield from compared(
        bench, {k: later.get(k) for k in mine}, {k: fresh.get(k) for k in mine}, "later call with another upstream",
        "is another one when the pullback was called before with another upstream", times=4.0, facts={"calls": 3},
    )  # fmt: skip
    yield from _again(bench, first)


def _again(bench: Bench, first: Gradients) -> Iterator[Measurement]:
    """Forward and backward once more on one object, where the adapter offers ``again(run, case)``."""
    again = getattr(bench.adapter, "again", None)
    if again is None:
        return
    run = bench.run()
    run.pullback(copied(bench.upstream))
    try:
        out, pullback = again(run, bench.case)
        if not equal(out, run.out, bench.eps):
            return  # the forward itself has state (dropout, running statistics): "deterministic" says so
        repeated = snapshot(pullback(copied(bench.upstream)))
    except AdapterError:
        return  # an object that collects several forwards by design: it says so by raising
    added = frozenset(k for k in first if _stored(bench, k) and _doubled(bench, k, first, repeated))
    yield from compared(
        bench, _increment(repeated, first, added), first, "forward and backward again on the same object",
        "changes when forward and backward run again on the same object", facts={"again": True, "calls": 2},
        notes=lambda k: _kept(bench, k, added=k in added, again=True),
    )  # fmt: skip


def _stored(bench: Bench, name: str) -> bool:
    """Whether the gradient lives on the user's object, where adding into it or filling it again is a convention.

    An adapter of an object says so with ``stored`` (names of primals), with "accumulates", or by having parameters.
    """
    own = getattr(bench.adapter, "parameters", None)
    return "accumulates" in traits(bench) or name in getattr(bench.adapter, "stored", () if own is None else own())


def _doubled(bench: Bench, name: str, first: Gradients, second: Gradients) -> bool:
    a, b = first[name], second.get(name)
    if a is None or b is None or a.shape != b.shape or not np.any(a):
        return False
    allowed = 2 * spread_allowed(bench, name, a)
    return bool(largest(b - 2 * a) <= allowed < largest(b - a))


def _increment(second: Gradients, first: Gradients, added: frozenset[str]) -> dict[str, Array | None]:
    """What the second call contributed: itself, or for accumulated gradients the difference."""
    return {k: g - first[k] if k in added and g is not None else g for k, g in second.items()}


def _piled(bench: Bench, name: str, later: Gradients, first: Gradients, fresh: Gradients) -> bool:
    """Whether a gradient on the object is the sum of what three calls contributed."""
    a, b, c = later.get(name), first.get(name), fresh.get(name)
    if a is None or b is None or c is None or not a.shape == b.shape == c.shape:
        return True
    return bool(largest(a - (2 * b + c)) <= 4 * spread_allowed(bench, name, a, b))


def _kept(bench: Bench, name: str, *, added: bool, again: bool = False) -> tuple[str, ...]:
    """What an object does with the gradient that it keeps: add to it or replace it; nothing for one that it returns."""
    if added:
        return (f"the gradient of {name} is accumulated (+=) into the object: zero it between steps",)
    own = getattr(bench.adapter, "parameters", None)
    if "engine" in traits(bench) or name not in getattr(bench.adapter, "stored", () if own is None else own()):
        return ()
    if "accumulates" in traits(bench) and not again:
        return ()  # every call was given a fresh copy: only a second run on the same object can tell
    return (f"the gradient of {name} is replaced (=) on the object by every backward",)
