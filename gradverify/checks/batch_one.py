"""A batch of one sample."""

from __future__ import annotations

from collections.abc import Iterator

from gradverify import registry
from gradverify.checks._axes import batch
from gradverify.checks._resized import measured
from gradverify.types import Bench, Measurement


@registry.check("batch-one", catches=("unreduced-broadcast",), requires=("shape", "second-call-equal"))
def batch_one(bench: Bench) -> Iterator[Measurement]:
    """With a batch of one sample every gradient keeps the shape of its primal and stays finite.

    The axis over the samples is the one that the case names (``attrs["batch_axis"]``), else the leading axis that the
    data share, where the forward follows it from one sample to one more than given. Not finite counts only where an
    oracle knows a derivative. A batch that is one sample already is the matter of ``larger-batch``.
    Why: ``np.squeeze`` and ``ndim == 1`` branches drop the batch axis exactly when it has length one, and a variance
    over one sample divides by zero. The values are judged by the oracle, at a batch that can tell a mean from a sum.
    Right: ``dx.reshape(x.shape)``. Wrong: ``np.squeeze(dx)``.
    """
    axes = batch(bench)
    yield from measured(bench, axes, 1, f"a batch of one ({', '.join(axes)})")
