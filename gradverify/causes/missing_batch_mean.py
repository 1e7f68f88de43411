"""The 1/B of a mean is missing."""

from __future__ import annotations

from gradverify import registry
from gradverify.causes._batch import off_by_batch
from gradverify.types import Cause, Evidence, Measurement

SUGGESTION = "divide the gradient by the batch size, once: where the loss is a mean, its delta is (p - y) / B"


@registry.cause("missing-batch-mean")
def missing_batch_mean(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is too large by exactly the batch size: the loss is a mean, its gradient a sum."""
    return off_by_batch(m, ev, "missing-batch-mean", 1, SUGGESTION)
