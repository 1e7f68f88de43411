"""The gradient of a weight is a sum of one outer product per sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.invariants._batch import batch_of
from gradverify.invariants._layers import OPS as NETWORKS
from gradverify.invariants._tools import FLOOR, equal, pulled, smallest, usable, wide
from gradverify.types import Bench, Case, Measurement


def _weights(case: Case) -> list[str]:
    return [k for k, v in case.primals.items() if k.startswith("W") and v.ndim == 2 and min(v.shape) >= 2]


def applies(case: Case) -> bool:
    """A weight of two rows and columns or more, and samples."""
    batch = batch_of(case)
    return batch is not None and batch.n >= 1 and bool(_weights(case)) and case.op in ("affine", *NETWORKS)


@registry.invariant("rank-of-dw", applies=applies, ops=("affine", *NETWORKS))
def rank_of_dw(bench: Bench) -> Iterator[Measurement]:
    """The rank of dW is at most the number of samples.

    Why: dW = sum over samples of delta x^T. A term that is not made of samples (weight decay inside backward, a
    gradient left over from before) has full rank.
    Right: ``dW = delta.T @ x``. Wrong: ``dW = delta.T @ x + 1e-3 * W``.
    """
    case, batch = bench.case, batch_of(bench.case)
    if batch is None or not applies(case):
        return
    for name in _weights(case):
        n = min(batch.n, min(case.primals[name].shape) - 1)
        index = np.arange(n)
        gradient = pulled(bench, batch.rows(case, index), batch.above(bench.upstream, index)).get(name)
        if gradient is None or not usable(gradient) or gradient.shape != case.primals[name].shape:
            continue
        values = np.linalg.svd(wide(gradient), compute_uv=False)
        # singular values move by at most the norm of a perturbation; fewer samples weigh more in a mean
        error = batch.n / n * float(np.linalg.norm(2 * bench.rounding(name)))
        budget = error + FLOOR * bench.eps * float(values[0]) + smallest(bench)
        yield equal(bench, name, values[n:], np.zeros_like(values[n:]), f"singular values beyond {n} samples",
                    "has a higher rank than there are samples", terms=float(values[0]), budget=budget)  # fmt: skip
