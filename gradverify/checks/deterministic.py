"""The same call gives the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradverify import registry
from gradverify.checks._tools import compared, copied, gap_between, largest, snapshot, spread_allowed
from gradverify.draws import drawn_otherwise
from gradverify.judge import judge
from gradverify.types import Bench, Gradients, Measurement, Verdict, leaves

OTHER_SEED = 20_011  #: of the generators when backward is asked once more


@registry.check(
    "deterministic",
    catches=("nondeterministic", "stale-state", "accumulated"),
    raises="stale-state",
    requires=("shape",),
)
def deterministic(bench: Bench) -> Iterator[Measurement]:
    """Two fresh runs at the same point give the same gradients, to within rounding; their spread is reported.

    Backward is asked once more with the global generators in another state: what it draws by itself is not what forward
    drew.
    Why: an unseeded mask, a module-level counter or a race makes every other comparison meaningless. Sums in another
    order (atomic additions on a GPU) are allowed and noted with their size.
    Right: a dropout mask drawn from a seeded generator and kept in the cache. Wrong: a new mask drawn in backward.
    """
    one, two = bench.run(), bench.run()
    first, second = snapshot(one.pullback(copied(bench.upstream))), snapshot(two.pullback(copied(bench.upstream)))
    a, b = leaves(one.out), leaves(two.out)
    pairs = [(a[k], b[k]) for k in a if k in b and np.shape(a[k]) == np.shape(b[k])]
    moved = max((largest(np.subtract(x, y, dtype=complex)) for x, y in pairs), default=0.0)
    why = "differs between two fresh runs at the same point"
    if moved > 0:
        why += f", and so does the output (by up to {moved:.3e}): give the forward a fixed seed or a fixed mask"
    differs = False
    for m in compared(bench, second, first, "second fresh run", why, bound=_bound(bench, first, second)):
        differs |= judge(m).verdict is Verdict.FAIL
        spread = largest(m.got - m.want.value) if m.got.shape == m.want.value.shape else float("nan")
        said = (f"{m.of.split(':')[0]}: two fresh runs differ by up to {spread:.3e}",) if spread > 0 else ()
        yield replace(m, facts={**m.facts, "spread": spread, "output_spread": moved}, notes=said)
    if moved > 0 or differs:
        return  # what a third run would add is more of the same
    run = bench.run()
    with drawn_otherwise(OTHER_SEED):
        third = snapshot(run.pullback(copied(bench.upstream)))
    why = "changes with the random numbers that backward draws: they are not those of the forward"
    yield from compared(
        bench, third, first, "other random numbers in backward", why,
        bound=_bound(bench, first, third), facts={"drawn": True},
    )  # fmt: skip


def _bound(bench: Bench, first: Gradients, other: Gradients) -> dict[str, float]:
    """The allowed spread, capped at half the digits: a rounding that was measured on random runs is not rounding."""
    most = float(np.sqrt(bench.eps))
    return {
        k: min(spread_allowed(bench, k, g, gap=gap_between(g, other.get(k))), most * largest(g))
        for k, g in first.items()
        if g is not None
    }
