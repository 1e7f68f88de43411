"""Embedding: rows of a table by their number. Beyond the derivation."""

from __future__ import annotations

import numpy as np

from reference_impl.shapes import Array, ArrayLike, Pullback, cotangent, fit, integers, real


def embedding(table: ArrayLike, indices: ArrayLike) -> tuple[Array, Pullback]:
    """Rows by number, out = table[indices], and its pullback: one-hot rows times the table, without the one-hot rows.

    table  (..., V, D); indices  any shape of integers in [0, V), not differentiable  ->  (..., *indices.shape, D)
    pullback(u: like out) -> (dtable, None): a row used several times receives the *sum* of its gradients.
    Beyond the derivation; section 'Derivative of a Sum'.
    """
    table = real("table", table, 2, "(..., V, D)")
    rows = integers("indices", indices, below=table.shape[-2]).copy()
    out = np.take(table, rows, axis=-2)

    def pullback(upstream: ArrayLike) -> tuple[Array, None]:
        u = cotangent(upstream, out)
        dtable = np.zeros(table.shape, dtype=u.dtype)
        du = u.reshape(*table.shape[:-2], rows.size, table.shape[-1])
        # unlike dtable[rows] += du, this adds repeated rows up
        np.add.at(np.moveaxis(dtable, -2, 0), rows.ravel(), np.moveaxis(du, -2, 0))
        return fit(dtable, table), None

    return out, pullback
