"""A batch of one sample."""

from __future__ import annotations

from collections.abc import Iterator

from gradverify import registry
from gradverify.checks._resized import batch_axes, measured
from gradverify.types import Bench, Measurement


@registry.check("batch-one", catches=("unreduced-broadcast",), requires=("shape",))
def batch_one(bench: Bench) -> Iterator[Measurement]:
    """With a batch of one sample every gradient keeps the shape of its primal and stays finite.

    Measured where the case says which axes run over samples (``attrs["batch_axis"]``) and the forward accepts it.
    Why: ``np.squeeze`` and ``ndim == 1`` branches drop the batch axis exactly when it has length one, and a variance
    over one sample divides by zero. The values are judged by the oracle, at a batch that can tell a mean from a sum.
    Right: ``dx.reshape(x.shape)``. Wrong: ``np.squeeze(dx)``.
    """
    yield from measured(bench, batch_axes(bench), 1, "a batch of one")
