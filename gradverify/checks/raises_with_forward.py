"""Shapes that do not fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, count, drawn_like, floats
from gradverify.errors import Unsupported
from gradverify.sampling import evaluate, quiet
from gradverify.types import Array, Bench, Case, Measurement

TRIES = 4  #: misfits that are measured; more of them tell nothing new


@registry.check("raises-with-forward", catches=("stale-state",), requires=("shape",), level="thorough")
def raises_with_forward(bench: Bench) -> Iterator[Measurement]:
    """Where the plain forward raises, asking for the gradient raises too: no numbers for shapes that do not fit.

    One axis of one primal is made longer by one; where the forward alone refuses that, so must forward and backward
    together. What the forward accepts (by broadcasting) is not measured. At the level "thorough" only: native code
    that does not check its shapes may not survive it.
    Why: a cached result, a ``try`` around the product or a reshape to the old size hides the mistake of the caller.
    Right: let it raise. Wrong: ``except ValueError: return self.last_gradient``.
    """
    met = 0
    for words, case in _misfits(bench.case):
        if met == TRIES or not _refused(bench, case):
            continue
        met += 1
        returned = 0
        with quiet():
            try:
                run = bench.run(case)
                returned = sum(g is not None for g in run.pullback(copied(drawn_like(run.out, bench.rng))).values())
            except Exception:  # noqa: BLE001  (whatever it raises, it raises: that is what is asked for)
                returned = 0
        yield count(
            f"{words}", returned,
            f"with {words} the forward raises, yet forward and backward together return {returned} gradients",
            facts={"misfit": words},
        )  # fmt: skip
    if not met:
        raise Unsupported("the forward accepts every primal with one axis longer by one: nothing to raise for")


def _misfits(case: Case) -> Iterator[tuple[str, Case]]:
    """Every differentiable primal with one axis longer by one, the last axes first."""
    for name, v in floats(case.primals).items():
        for axis in reversed(range(v.ndim)):
            if v.shape[axis]:
                yield f"{name} longer by one along axis {axis}", case.at({name: _longer(v, axis)})


def _longer(v: Array, axis: int) -> Array:
    return np.concatenate([v, np.take(v, [0], axis=axis)], axis=axis)


def _refused(bench: Bench, case: Case) -> bool:
    with quiet():
        try:
            evaluate(bench.adapter, case)
        except Exception:  # noqa: BLE001  (whatever it raises, it refuses)
            return True
    return False
