"""The gradient at another point, of an object that has been through forward and backward at the given one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from gradverify.checks._tools import compared, copied, equal, largest, snapshot, spread_allowed
from gradverify.errors import AdapterError
from gradverify.types import Array, Bench, Case, Gradients, Measurement, Out, Pullback, Run


def on_the_used_object(bench: Bench, case: Case, words: str) -> Iterator[Measurement]:
    """The gradients there against those of a fresh object, where the adapter can run an object ``again``.

    First at other data, then with its parameters updated in place as well, as a step of training does. An object whose
    output is another one, too, has a state by design. What is added (``self.dW += ...``) is what the last call added.
    """
    if not hasattr(bench.adapter, "again"):
        return
    own: Mapping[str, Array] = getattr(bench.adapter, "parameters", dict)()
    kept = {k: v for k, v in bench.case.primals.items() if k in own}
    yield from _there(bench, case.at(kept), f"{words}, on the object that has been at the first")
    if kept:
        yield from _there(bench, case, f"{words}, on the object whose parameters were those of the first")


def _there(bench: Bench, there: Case, words: str) -> Iterator[Measurement]:
    again: Callable[[Run, Case], tuple[Out, Pullback]] = bench.adapter.again  # type: ignore[attr-defined]  # asked for
    try:
        fresh = bench.run(there)
        want = snapshot(fresh.pullback(copied(bench.upstream)))
        used = bench.run()
        before = snapshot(used.pullback(copied(bench.upstream)))
        out, pullback = again(used, there)
        if not equal(out, fresh.out, bench.eps):
            return
        got = snapshot(pullback(copied(bench.upstream)))
    except AdapterError:
        return
    yield from compared(
        bench, _added(bench, got, before, want), want, words,
        "is not what a fresh object says there", times=4.0, facts={"again": True, "used": True},
    )  # fmt: skip


def _added(bench: Bench, got: Gradients, before: Gradients, want: Gradients) -> dict[str, Array | None]:
    """``got``, without what the call before had left where the rest is what is wanted."""
    stored: frozenset[str] = getattr(bench.adapter, "stored", frozenset())
    return {k: _rest(bench, k, g, before.get(k), want.get(k)) if k in stored else g for k, g in got.items()}


def _rest(bench: Bench, name: str, got: Array | None, before: Array | None, want: Array | None) -> Array | None:
    if got is None or before is None or want is None or not got.shape == before.shape == want.shape:
        return got
    rest: Array = got - before
    return rest if largest(rest - want) <= 4 * spread_allowed(bench, name, got, before, want) else got
