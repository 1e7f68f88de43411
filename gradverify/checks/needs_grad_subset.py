"""Any subset of the primals may ask for its gradient, and any output may be used alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from gradverify import registry
from gradverify.checks._tools import compared, copied, floats, snapshot, traits
from gradverify.errors import Unsupported
from gradverify.types import Bench, Measurement, leaves

OUTPUTS = 4  #: so many are asked alone


@registry.check(
    "needs-grad-subset", catches=("needs-grad-subset",), raises="needs-grad-subset", requires=("shape", "deterministic")
)
def needs_grad_subset(bench: Bench) -> Iterator[Measurement]:
    """The gradient of a primal does not depend on which other primals want one, nor on which outputs a loss uses.

    An output that is not used is an upstream of zeros, or None after ``ctx.set_materialize_grads(False)``. Measured
    where the adapter offers ``vjp_wrt(case, names)``, as torch's ``requires_grad`` does; for code that always returns
    all gradients there is nothing to choose. All subsets up to four primals, else each alone and all but one.
    Why: ``ctx.needs_input_grad`` branches are written once and tested with everything on.
    Right: ``dw = g.T @ x if ctx.needs_input_grad[1] else None``. Wrong: the same line with index 0.
    """
    names, outputs = sorted(floats(bench.case.primals)), leaves(bench.upstream)
    apart = "partial-upstream" in traits(bench) and len(outputs) > 1
    vjp_wrt = getattr(bench.adapter, "vjp_wrt", None)
    if apart:
        yield from _each_output(bench, list(outputs)[:OUTPUTS])
    if vjp_wrt is None:
        raise Unsupported("all gradients are always computed: nobody can ask for some of them")
    if len(names) < 2:
        raise Unsupported("there is one differentiable primal")
    everything = snapshot(bench.run().pullback(copied(bench.upstream)))
    sizes = range(1, len(names)) if len(names) <= 4 else (1, len(names) - 1)
    for wanted in (s for n in sizes for s in combinations(names, n)):
        words = f"only {', '.join(wanted)} asking"
        try:
            gradients = snapshot(vjp_wrt(bench.case, frozenset(wanted))[1](copied(bench.upstream)))
        except Exception as error:
            error.add_note(f"(with {words} for a gradient; with all asking it works)")
            raise
        yield from compared(
            bench, {k: gradients.get(k) for k in wanted}, {k: everything[k] for k in wanted}, words,
            f"is another one with {words} for a gradient", facts={"subset": wanted},
        )  # fmt: skip


def _each_output(bench: Bench, names: list[str]) -> Iterator[Measurement]:
    """One output in the loss alone, against all outputs with zeros for the others."""
    for name in names:
        alone = {name: np.array(leaves(bench.upstream)[name])}
        rest = {k: np.array(u) if k == name else np.zeros_like(u) for k, u in leaves(bench.upstream).items()}
        want = snapshot(bench.run().pullback(rest))
        try:
            got = snapshot(bench.run().pullback(alone))
        except Exception as error:
            error.add_note(f"(with output {name} alone in the loss; with all outputs it works)")
            raise
        got = {k: np.zeros_like(g) if got.get(k) is None and g is not None else got.get(k) for k, g in want.items()}
        want = {k: np.zeros_like(g) if w is None and (g := got[k]) is not None else w for k, w in want.items()}
        words = f"output {name} alone in the loss"
        yield from compared(bench, got, want, words, f"is another one with {words}", facts={"output": name})
