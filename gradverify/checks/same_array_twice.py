"""One array may be passed as two arguments."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

from gradverify import registry
from gradverify.checks._inside import tied
from gradverify.checks._tools import compared, copied, equal, floats, handed, snapshot, traits
from gradverify.errors import AdapterError, Unsupported
from gradverify.types import Array, Bench, Measurement

PAIRS = 6  #: pairs of primals tried; more of the same shape tell nothing new


@registry.check(
    "same-array-twice", catches=("aliased", "stale-state"), requires=("shape", "primals-unchanged", "deterministic")
)
def same_array_twice(bench: Bench) -> Iterator[Measurement]:
    """With the very same array object as two arguments, each argument gets the gradient it gets with equal copies.

    An engine (torch) has one gradient for one tensor: with the same tensor twice it is the sum of both.
    Why: ``f(x, x)`` is legal. Code that keys its gradients by array identity, or writes a result into one argument
    before it has read the other, is wrong only there.
    Right: gradients by position or name. Wrong: ``grads[id(x)] = ...``.
    """
    owned: dict[str, Array] = getattr(bench.adapter, "parameters", dict)()  # nobody ties gamma to beta on one object
    primals = {k: v for k, v in floats(bench.case.primals).items() if k not in owned}
    alike = [
        (a, b)
        for a, b in combinations(primals, 2)
        if primals[a].shape == primals[b].shape and primals[a].dtype == primals[b].dtype
    ]
    if not alike:
        raise Unsupported("no two primals of one shape and dtype that are handed over at each call")
    if "engine" in traits(bench):
        yield from _one_tensor(bench, alike[:PAIRS])
        return
    for a, b in alike[:PAIRS]:
        copies = bench.case.at({b: primals[a]})
        shared = handed(copies, partial(_shared, a, b))
        words = f"one array as {a} and {b}"
        run = bench.run(shared)
        if run.given.get(a) is not run.given.get(b):
            continue  # the adapter copies, so nothing reaches the user's code
        apart = snapshot(bench.run(copies).pullback(copied(bench.upstream)))
        together = snapshot(run.pullback(copied(bench.upstream)))
        yield from compared(
            bench, together, apart, words, f"is another one when {a} and {b} are the same array object",
            times=4.0, facts={"pair": (a, b)},
        )  # fmt: skip


def _one_tensor(bench: Bench, alike: list[tuple[str, str]]) -> Iterator[Measurement]:
    """One tensor as two arguments of an engine."""
    for a, b in alike:
        twin = tied(bench.adapter, a, b)
        if twin is None:
            raise Unsupported("one tensor cannot be handed over as two arguments here")
        copies = bench.case.at({b: bench.case.primals[a]})
        try:
            out, pullback = twin.vjp(copies)
        except AdapterError as error:
            raise Unsupported(f"the forward refuses one tensor as {a} and {b}: {error}") from error
        run = bench.run(copies)
        if not equal(out, run.out, bench.eps):
            raise Unsupported("with one tensor the forward gives other numbers: it writes into its input")
        apart = snapshot(run.pullback(copied(bench.upstream)))
        one, other = apart.get(a), apart.get(b)
        both = one if other is None else other if one is None else one + other
        got = snapshot(pullback(copied(bench.upstream)))
        yield from compared(
            bench, got, {**apart, a: both, b: both}, f"one tensor as {a} and {b}",
            f"is not that of both uses when {a} and {b} are the same tensor", times=4.0, facts={"pair": (a, b)},
        )  # fmt: skip


def _shared(a: str, b: str, given: dict[str, Array]) -> dict[str, Array]:
    return {**given, b: given[a]}
