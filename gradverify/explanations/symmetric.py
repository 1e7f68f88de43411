"""The gradient by a symmetric matrix of which the forward reads one triangle only, as Cholesky and eigh do.

Entry by entry the derivative D is zero in the triangle that is not read. Over symmetric matrices the gradient is
(D + D^T) / 2: for every symmetric change S both give <D, S>. Libraries return either.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradverify.answers import Answer
from gradverify.explanations._difference import Difference
from gradverify.points import is_symmetric
from gradverify.types import Array, Estimate

NOTE = "forward reads one triangle of {0}, which is symmetric: the gradient is the one for symmetric changes of {0}"


def explain(d: Difference) -> None:
    """The gradient over symmetric matrices, where the implementation's is that one."""
    matrix = d.asked.case.primals[d.name]
    estimate = over_symmetric(matrix, d.answer.estimate)
    if estimate is None:
        return
    notes = [*d.answer.notes, NOTE.format(d.name)]
    candidate = Answer(estimate, d.answer.oracle, estimate.value, estimate.value, notes)
    if not d.remains(candidate):
        d.asked.symmetric.add(d.name)
        d.answer = candidate


def over_symmetric(matrix: Array, derivative: Estimate) -> Estimate | None:
    """The other convention of ``derivative``, where ``matrix`` is symmetric and one triangle of it is not read."""
    d = derivative.value
    if d.shape != matrix.shape or not is_symmetric(matrix) or not np.all(np.isfinite(derivative.error)):
        return None
    if not any(_zero(triangle(d), triangle(derivative.error)) for triangle in (_above, _below)):
        return None
    error = 0.5 * (derivative.error + np.swapaxes(derivative.error, -1, -2))
    return replace(derivative, value=0.5 * (d + np.swapaxes(d, -1, -2)), error=error)


def _zero(values: Array, errors: Array) -> bool:
    return bool(np.all(np.abs(values) <= errors))


def _above(m: Array) -> Array:
    return np.triu(m, 1)


def _below(m: Array) -> Array:
    return np.tril(m, -1)
