"""The primals may lie in memory in any way."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from gradverify import registry
from gradverify.checks._layouts import LAYOUTS, raised, refused
from gradverify.checks._tools import compared, copied, equal, handed, snapshot
from gradverify.types import Array, Bench, Measurement, Run

#: names of compiled functions that draw; those of NumPy are not seen, and draw in C order whatever the layout is
DRAWN = re.compile(r"rand|dropout|bernoulli|^(log|standard_)?normal|uniform|shuffle|permut|choice|multinomial")


@registry.check(
    "primal-layouts", catches=("layout",), raises="layout", requires=("shape", "primals-unchanged", "deterministic")
)
def primal_layouts(bench: Bench) -> Iterator[Measurement]:
    """The gradient does not depend on the memory layout of the primals, only on their numbers.

    Why: ``x.T`` of the previous layer arrives in Fortran order, a slice of a batch arrives strided, and code that
    reshapes in memory order mixes the samples up. A layout that does not reach the implementation (its adapter copies)
    is not measured, nor one in which a forward draws another mask; one at which the forward raises (``x.view`` of
    torch), or that backward refuses by a ``raise`` or ``assert`` of its own, is noted.
    Right: ``x.reshape(n, -1)``. Wrong: ``x.ravel(order="K").reshape(n, -1)``.
    """
    first = bench.run()
    plain = snapshot(first.pullback(copied(bench.upstream)))
    for words, arrange in LAYOUTS.items():
        case = handed(bench.case, partial(_arranged, arrange))
        try:
            run = bench.run(case)
        except Exception as error:  # noqa: BLE001  (whatever a forward raises there: it returns no wrong number)
            yield refused(error, "the primals", words) or raised(error, words)
            continue
        try:
            if not _arrived(run, bench):
                continue
            if not equal(run.out, first.out, bench.eps) and _draws(bench):
                continue  # a mask drawn in memory order (rand_like) is another mask: nothing to compare with
            gradients = snapshot(run.pullback(copied(bench.upstream)))
        except Exception as error:
            note = refused(error, "the primals", words)
            if note is None:
                raise
            yield note
            continue
        yield from compared(
            bench, gradients, plain, f"primals {words}",
            f"depends on the layout of the primals: it is another one when the same numbers come {words}",
            facts={"layout": words},
        )  # fmt: skip


def _draws(bench: Bench) -> bool:
    """Whether the forward calls a random generator, seen by the names of the compiled functions that it calls."""
    met: set[str] = set()

    def watch(frame: object, event: str, called: object) -> None:
        if event == "c_call":
            met.add(getattr(called, "__name__", ""))

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        bench.run()
    finally:
        sys.setprofile(before)
    return any(DRAWN.search(name) for name in met)


def _arranged(arrange: Callable[[Array], Array | None], given: dict[str, Array]) -> dict[str, Array]:
    return {k: v if (a := arrange(v)) is None else a for k, v in given.items()}


def _arrived(run: Run, bench: Bench) -> bool:
    """Whether any array that the implementation received differs from a plain copy in its strides or flags."""
    plain = bench.case.thawed()
    return any(
        isinstance(v, np.ndarray) and k in plain and (v.strides != plain[k].strides or not v.flags.writeable)
        for k, v in run.given.items()
    )
