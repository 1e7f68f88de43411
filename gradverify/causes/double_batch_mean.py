"""The 1/B of a mean is applied twice."""

from __future__ import annotations

from gradverify import registry
from gradverify.causes._batch import off_by_batch
from gradverify.types import Cause, Evidence, Measurement

SUGGESTION = "divide by the batch size in one place only: in the loss (delta) or in the layers (dW, db), not in both"


@registry.cause("double-batch-mean")
def double_batch_mean(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is too small by exactly the batch size: divided once in the delta and once more in the layer."""
    return off_by_batch(m, ev, "double-batch-mean", -1, SUGGESTION)
