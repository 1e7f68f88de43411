"""The value of the gradient at another case, or of a twin of the adapter, judged as at the given one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.checks._tools import largest
from gradverify.errors import Unsupported
from gradverify.judge import judge
from gradverify.types import Adapter, Bench, Case, Measurement, Verdict, leaves


def bench_of(bench: Bench, adapter: Adapter, case: Case) -> Any:
    """A bench like this one for another adapter and case."""
    same = {k: getattr(bench, k) for k in ("level", "seed", "oracles") if hasattr(bench, k)}
    kind: Any = type(bench)
    return kind(adapter, case, **same)


def may_be_judged(bench: Bench) -> None:
    """Raise Unsupported where the value at the given point was not asked for, or a surrogate stands for it."""
    if getattr(bench, "truth", bench.adapter) is not bench.adapter:
        raise Unsupported("a surrogate stands for the derivative, at the given point only")
    if getattr(bench, "consultation", None) is None:
        raise Unsupported("the value of the gradient is not judged here")
    if "saturated" in bench.case.tags:
        raise Unsupported("the point is saturated on purpose: at another size what is left may be rounding alone")


def judged_elsewhere(bench: Bench, other: Any, words: str, **facts: Any) -> Iterator[Measurement]:
    """What ``other``, a bench of ``bench_of``, has settled; ``words`` end the name of each row.

    Where the oracles do not know, nothing is said: nobody asked for this point.
    Raises Unsupported where its output is not finite.
    """
    if not all(np.all(np.isfinite(v)) for v in leaves(other.out).values()):
        raise Unsupported(f"the output is not finite {words}")
    loose = _looseness(bench)
    for m in other.settled():
        size = max(m.scale, largest(m.want.value))
        why = m.why or f"the {m.of} is wrong {words}, where the one at the given point is right"
        budget, more = m.rounding + loose * size, {**m.facts, **facts}
        moved = replace(m, of=f"{m.of} {words}", rounding=budget, why=why, facts=more, bench=other)
        if judge(moved).verdict is not Verdict.INCONCLUSIVE:
            yield moved


def _looseness(bench: Bench) -> float:
    """How far, relative to its size, a gradient that passed at the given point is outside the derived budget.

    Nothing, unless the user gave a tolerance: then the same distance is allowed elsewhere, twice.
    """
    worst = 0.0
    for m in bench.settled():
        if np.shape(m.got) != np.shape(m.want.value):
            continue
        with np.errstate(all="ignore"):
            excess = np.abs(m.got - m.want.value) - m.want.error - m.rounding
        if m.lower is not None and m.upper is not None:
            excess = np.where((m.got >= m.lower) & (m.got <= m.upper), 0.0, excess)
        size = max(m.scale, largest(m.want.value))
        if size > 0:
            worst = max(worst, float(np.max(excess, initial=0.0, where=np.isfinite(excess))) / size)
    return 2 * worst
