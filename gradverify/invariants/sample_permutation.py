"""The order of the samples in a batch means nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradverify import registry
from gradverify.invariants._batch import OPS, Batch, batch_of
from gradverify.invariants._tools import equal, kept, pulled, usable
from gradverify.types import Bench, Case, Measurement


def _batch(case: Case) -> Batch | None:
    """As ``batch_of``; training-mode batch normalisation mixes its samples but knows no order either."""
    if case.op == "batch_norm" and case.primals["X"].ndim == 2:
        return batch_of(replace(case, op="layer_norm"))
    return batch_of(case)


def applies(case: Case) -> bool:
    """Two samples or more."""
    batch = _batch(case)
    return batch is not None and batch.n >= 2


@registry.invariant("sample-permutation", applies=applies, ops=(*OPS, "batch_norm"))
def sample_permutation(bench: Bench) -> Iterator[Measurement]:
    """Samples in another order: the same gradients of what they share, and their own in that order.

    Why: a running sum that forgets its first or last sample, or an index that is off by one, depends on the order.
    Right: ``db = delta.sum(axis=0)``. Wrong: ``db = delta[:-1].sum(axis=0)``.
    """
    batch = _batch(bench.case)
    if batch is None or batch.n < 2:
        return
    order = np.roll(np.arange(batch.n), 1)  # every sample moves
    if batch.n > 2:
        order = order[bench.rng.permutation(batch.n)]
    before = kept(bench.gradients())
    after = pulled(bench, batch.rows(bench.case, order), batch.above(bench.upstream, order))
    for name, gradient in before.items():
        got = after.get(name)
        if gradient is None or got is None or not usable(gradient, got):
            continue
        want = np.take(gradient, order, axis=batch.axes[name]) if name in batch.axes else gradient
        yield equal(bench, name, got, want, "samples in another order", "depends on the order of the samples")
