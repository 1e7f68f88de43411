"""An empty batch."""

from __future__ import annotations

from collections.abc import Iterator

from gradverify import registry
from gradverify.checks._axes import batch
from gradverify.checks._resized import measured
from gradverify.types import Bench, Measurement


@registry.check("zero-batch", catches=("nan-at-edge",), requires=("shape",), level="thorough")
def zero_batch(bench: Bench) -> Iterator[Measurement]:
    """Where forward accepts an empty batch, backward does too: right shapes, and zeros for the parameters.

    The axis over the samples is found as for ``batch-one``.
    Why: the last shard of a data set is empty sooner or later. A sum over no samples is zero, not NaN.
    Right: ``u.T @ x``. Wrong: ``np.mean([np.outer(d, s) for d, s in zip(u, x)], axis=0)``, which is NaN.
    """
    axes = batch(bench)
    yield from measured(bench, axes, 0, f"an empty batch ({', '.join(axes)})")
