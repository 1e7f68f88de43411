"""The gradient of a batch is made of its samples' gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.invariants._batch import OPS, Batch, batch_of, several
from gradverify.invariants._tools import equal, kept, pulled, size, usable, wide
from gradverify.types import Array, Bench, Measurement, leaves, like


@registry.invariant("batch-additivity", applies=several, ops=OPS)
def batch_additivity(bench: Bench) -> Iterator[Measurement]:
    """The gradient of a batch is the mean or sum of its samples' gradients, each computed alone.

    Why: examples do not know of each other. A forgotten or doubled 1/B, a sample that is dropped, and a sum over the
    wrong axis break it; a batch of one cannot tell.
    Right: ``dW = delta.T @ A / B`` for a mean loss. Wrong: ``dW = delta.T @ A``.
    """
    batch = batch_of(bench.case)
    if batch is None or batch.n < 2:
        return
    whole = kept(bench.gradients())
    alone = []
    for i in range(batch.n):
        one = np.array([i])
        above = batch.above(bench.upstream, one)
        if batch.out is None:  # the upstream of a sample's own loss, at its weight in the reduced one
            above = like(above, {k: np.asarray(batch.weight * v, v.dtype) for k, v in leaves(above).items()})
        alone.append(pulled(bench, batch.rows(bench.case, one), above))
    for name, got in whole.items():
        parts = [part.get(name) for part in alone]
        if got is None or not usable(got, *parts):
            continue
        want, terms = _joined(batch, name, [wide(p) for p in parts])
        yield equal(bench, name, got, want, "from its samples", "is not what its samples' gradients make", terms=terms)


def _joined(batch: Batch, name: str, parts: list[Array]) -> tuple[Array, float]:
    """The samples' gradients put side by side, or added up where the samples share the primal."""
    if name in batch.axes:
        return np.concatenate(parts, axis=batch.axes[name]), max(size(p) for p in parts)
    return np.sum(parts, axis=0), size(np.sum(np.abs(parts), axis=0))
