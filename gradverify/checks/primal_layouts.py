"""The primals may lie in memory in any way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from gradverify import registry
from gradverify.checks._layouts import LAYOUTS
from gradverify.checks._tools import compared, copied, handed, snapshot
from gradverify.types import Array, Bench, Measurement, Run


@registry.check("primal-layouts", catches=("layout",), raises="layout", requires=("shape", "primals-unchanged"))
def primal_layouts(bench: Bench) -> Iterator[Measurement]:
    """The gradient does not depend on the memory layout of the primals, only on their numbers.

    Why: ``x.T`` of the previous layer arrives in Fortran order, a slice of a batch arrives strided, and code that
    reshapes in memory order mixes the samples up. A layout that does not reach the implementation (its adapter copies)
    is not measured.
    Right: ``x.reshape(n, -1)``. Wrong: ``x.ravel(order="K").reshape(n, -1)``.
    """
    plain = snapshot(bench.run().pullback(copied(bench.upstream)))
    for words, arrange in LAYOUTS.items():
        case = handed(bench.case, partial(_arranged, arrange))
        try:
            run = bench.run(case)
            if not _arrived(run, bench):
                continue
            gradients = snapshot(run.pullback(copied(bench.upstream)))
        except Exception as error:
            error.add_note(f"(with the primals {words}; contiguous copies of the same numbers work)")
            raise
        yield from compared(
            bench, gradients, plain, f"primals {words}",
            f"depends on the layout of the primals: it is another one when the same numbers come {words}",
            facts={"layout": words},
        )  # fmt: skip


def _arranged(arrange: Callable[[Array], Array | None], given: dict[str, Array]) -> dict[str, Array]:
    return {k: v if (a := arrange(v)) is None else a for k, v in given.items()}


def _arrived(run: Run, bench: Bench) -> bool:
    """Whether any array that the implementation received differs from a plain copy in its strides or flags."""
    plain = bench.case.thawed()
    return any(
        isinstance(v, np.ndarray) and k in plain and (v.strides != plain[k].strides or not v.flags.writeable)
        for k, v in run.given.items()
    )
