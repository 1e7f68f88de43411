"""No NaN and no overflow where the forward is finite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, count, floats
from gradverify.errors import Unsupported
from gradverify.types import Array, Bench, Measurement, leaves


@registry.check("finite", catches=("nan-at-edge", "overflow"), requires=("shape",), level="quick")
def finite(bench: Bench) -> Iterator[Measurement]:
    """The gradient is finite where the primals, the upstream and the output are.

    Why: 0/0 at a norm of zero, 0 * inf in an unused branch, exp(800) in a sigmoid: one NaN in one gradient and the
    training is lost. Infinity is the right answer where the derivative really has a pole (sqrt at 0): it is allowed
    where a point 1e-8 beside has a finite gradient, and noted.
    Right: ``dx = u * y * (1 - y)``. Wrong: ``dx = u * np.exp(-x) / (1 + np.exp(-x)) ** 2``, NaN at x = -800.
    """
    run = bench.run()
    given = [*floats(bench.case.primals).values(), *leaves(run.out).values(), *leaves(bench.upstream).values()]
    if not all(np.all(np.isfinite(a)) for a in given):
        raise Unsupported("the primals, the upstream or the output are not finite")
    gradients = run.pullback(copied(bench.upstream))
    beside = None
    for name, primal in floats(bench.case.primals).items():
        gradient = gradients.get(name)
        if gradient is None or not np.size(gradient):
            continue
        bad = ~np.isfinite(gradient)
        notes: tuple[str, ...] = ()
        if np.any(np.isinf(gradient)):
            beside = _beside(bench) if beside is None else beside
            poles = np.isinf(gradient) & np.isfinite(_of(beside.get(name), primal))
            bad = bad & ~poles
            if np.any(poles):
                notes = (
                    f"{int(poles.sum())} entries of the gradient of {name} are infinite and finite 1e-8 beside: a pole",
                )
        where = tuple(int(i) for i in np.argwhere(bad)[0]) if np.any(bad) else ()
        why = f"{int(bad.sum())} of {bad.size} entries of the gradient of {name} are not finite"
        if np.any(bad):
            why += f", the first at {list(where)} ({np.asarray(gradient)[where]})"
        why += ", although the primals, the upstream and the output are"
        yield count(name, int(bad.sum()), why, notes=notes, facts={"primal": name, "where": where})


def _beside(bench: Bench) -> dict[str, Array | None]:
    """Gradients at a point moved by 1e-8 of the scale of each primal, away from zero."""
    moved = {}
    for name, v in floats(bench.case.primals).items():
        step = max(1e-8, 4 * float(np.finfo(v.dtype).eps)) * max(1.0, float(np.max(np.abs(v), initial=0.0)))
        moved[name] = np.asarray(v + np.where(v < 0, -step, step), dtype=v.dtype)
    run = bench.run(bench.case.at(moved))
    return dict(run.pullback(copied(bench.upstream)))


def _of(gradient: Array | None, primal: Array) -> Array:
    return np.full(primal.shape, np.nan) if gradient is None else np.asarray(gradient)
