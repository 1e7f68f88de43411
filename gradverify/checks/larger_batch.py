"""More samples than the one that was given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradverify import registry
from gradverify.checks._axes import sized, telling
from gradverify.checks._elsewhere import bench_of, judged_elsewhere, may_be_judged
from gradverify.checks._resized import unless_fixed
from gradverify.checks._tools import floats, shape_measured
from gradverify.errors import AdapterError, Unsupported
from gradverify.points import moved
from gradverify.types import Bench, Case, Measurement


@registry.check(
    "larger-batch",
    catches=("unreduced-broadcast", "missing-batch-mean", "dropped-samples"),
    requires=("shape", "pullback-matches-oracle", "second-call-equal"),
    elsewhere=True,
)
def larger_batch(bench: Bench) -> Iterator[Measurement]:
    """Where the number of samples cannot tell, the gradient of more of them is right too: shapes and values.

    Measured where one sample was given and the forward accepts three, and where the batch is as large as another axis
    is long and the forward accepts one more: the samples are drawn beside the given ones. A backward that refuses more
    samples is left alone.
    Why: with one sample a sum is a mean, ``db = delta`` has the shape of ``db = delta.sum(axis=0)``, and a gradient of
    the first sample alone is the gradient of all. With as many samples as features, ``len(W)`` is ``len(x)``.
    Right: ``delta.sum(axis=0)``. Wrong: ``delta[0]``.
    """
    axes, length, reason = telling(bench)
    may_be_judged(bench)
    note = f"drawn beside the given point, which cannot tell: {reason}"
    case = sized(bench.case, axes, length)
    case = case.at({k: moved(v, bench.rng) for k, v in floats(case.primals).items() if k in axes})
    words = f"with a batch of {length} ({', '.join(axes)})"
    for m in unless_fixed(bench, case, lambda: _there(bench, case, length, words), words):
        yield replace(m, notes=(*m.notes, note))


def _there(bench: Bench, case: Case, length: int, words: str) -> Iterator[Measurement]:
    try:
        other = bench_of(bench, bench.adapter, replace(case, upstream=None))
        gradients = other.gradients()
    except AdapterError as error:
        raise Unsupported(f"it does not run {words}: {error}") from error
    fits = True
    for name, primal in floats(case.primals).items():
        g = gradients.get(name)
        if g is not None and np.shape(g) != primal.shape:
            fits = False
            yield shape_measured(
                f"{name}: shape {words}", np.shape(g), primal.shape,
                f"{words} the gradient of {name} has shape {np.shape(g)}, {name} has {primal.shape}",
                facts={"primal": name, "length": length},
            )  # fmt: skip
    if fits:
        yield from judged_elsewhere(bench, other, words, length=length)
