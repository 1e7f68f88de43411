"""Sets of entries that one wrong line of code spoils together: a row, a column, a diagonal, a block, a triangle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify.types import Array


def patterns(shape: tuple[int, ...], first: int) -> Iterator[tuple[str, Array]]:
    """(its name, flat indices) of every pattern through the entry ``first``, the smaller ones first."""
    at = np.unravel_index(first, shape)
    index = np.arange(int(np.prod(shape))).reshape(shape)
    found = []
    for axis in range(len(shape)) if len(shape) > 1 else ():
        slab = np.take(index, at[axis], axis=axis).ravel()
        kind = {(2, 0): "row", (2, 1): "column"}.get((len(shape), axis), f"index along axis {axis}:")
        found.append((f"all in {kind} {int(at[axis])}", slab))
    if len(shape) == 2:
        offset = int(at[1]) - int(at[0])
        name = "the diagonal" if offset == 0 else f"the diagonal shifted by {offset}"
        found.append((f"all on {name}", np.diagonal(index, offset)))
    yield from sorted(found, key=lambda pair: pair[1].size)


def triangle(shape: tuple[int, ...], first: int) -> tuple[str, Array]:
    """The triangle of a matrix that holds ``first``; nothing where there is none."""
    if len(shape) != 2 or min(shape) == 1:
        return "", np.zeros(0, int)
    row, column = np.unravel_index(first, shape)
    index = np.arange(int(np.prod(shape))).reshape(shape)
    if column > row:
        return "all above the diagonal", index[np.triu_indices(shape[0], 1, shape[1])]
    return "all below the diagonal", index[np.tril_indices(shape[0], -1, shape[1])]


def block(shape: tuple[int, ...], sides: list[tuple[int, int]]) -> Array:
    """Flat indices of a block, each side from start to stop."""
    index = np.arange(int(np.prod(shape))).reshape(shape)
    return index[tuple(slice(a, b) for a, b in sides)].ravel()
