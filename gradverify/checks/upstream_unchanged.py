"""Backward does not write into its upstream gradient."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, overwritten, traits
from gradverify.errors import Unsupported
from gradverify.types import Bench, Measurement


@registry.check("upstream-unchanged", catches=("upstream-mutated",), level="quick")
def upstream_unchanged(bench: Bench) -> Iterator[Measurement]:
    """Backward leaves the upstream gradient as it was, to the bit.

    Why: the upstream belongs to the caller. After ``g[x < 0] = 0; return g`` the gradient of ``relu(y) + y`` is wrong,
    although relu's own gradient is right, which is why gradient checkers pass it. A second call is made as well: who
    keeps the first upstream and adds to it writes into it only then.
    Right: ``return g * (x > 0)``. Wrong: ``g[x < 0] = 0; return g``.
    """
    if "no-upstream" in traits(bench):
        raise Unsupported("backward takes no upstream")
    first, second = copied(bench.upstream), copied(bench.upstream)
    run = bench.run()
    run.pullback(first)
    rows = list(overwritten(bench.upstream, first))
    yield from rows
    if not all(np.array_equal(m.got, m.want.value, equal_nan=True) for m in rows):
        return
    with contextlib.suppress(Exception):  # (what may be called once only may refuse in any way)
        run.pullback(second)
        for words, upstream in (("of the first call, after the second", first), ("of a second call", second)):
            for m in overwritten(bench.upstream, upstream, f"upstream {words}"):
                if not np.array_equal(m.got, m.want.value, equal_nan=True):
                    yield m
