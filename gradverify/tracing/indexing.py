"""Reading and writing by every kind of index: NumPy itself resolves the index, on positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradverify.tracing.array import TracedArray, is_traced, leave, tensor, wrap
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.storage import gather, positions
from gradverify.types import Array


def basic(key: Any) -> bool:
    """Integers, slices, ellipsis and newaxis only: NumPy gives a view."""
    return all(
        k is None or k is Ellipsis or (isinstance(k, (slice, int, np.integer)) and not isinstance(k, (bool, np.bool_)))
        for k in (key if isinstance(key, tuple) else (key,))
    )


def plain_key(key: Any) -> Any:
    """The index without traced parts: a traced float is no index, in NumPy neither."""
    if is_traced(key):
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    if isinstance(key, tuple):
        return tuple(plain_key(k) for k in key)
    if isinstance(key, list) and any(is_traced(k) for k in key):
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    return key


def getitem(a: TracedArray, key: Any) -> Any:
    """``a[key]``: a view for a basic index, a scalar where all axes are given, else a copy."""
    key = plain_key(key)
    if basic(key):
        shown = a.shadow[key]
        if isinstance(shown, np.ndarray):
            return TracedArray(a.storage, shown, None, a.dtype, scalar=False)
        cell = a.shadow[(*key, ...) if isinstance(key, tuple) else (key, ...)]
        return wrap(a.storage.read(cell), a.dtype)
    return wrap(gather(a.storage.flat(), a.positions()[key]), a.dtype)


def fitted(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``value`` broadcast to ``shape`` as assignment does: surplus leading axes of length 1 are dropped."""
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value[0]
    try:
        return value.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"could not broadcast input array from shape {tuple(value.shape)} into shape {shape}"
        ) from None


def setitem(a: TracedArray, key: Any, value: Any) -> None:
    """``a[key] = value``, through to the base and all its views."""
    key = plain_key(key)
    if not a.shadow.flags.writeable:
        raise ValueError("assignment destination is read-only")
    new = tensor(value)
    if basic(key):
        cell = a.shadow[(*key, ...)] if isinstance(key, tuple) and Ellipsis not in key else None
        if cell is None:
            cell = a.shadow[key] if isinstance(key, tuple) or key is Ellipsis else a.shadow[key, ...]
        new = fitted(new, cell.shape)
        if cell.size == a.storage.size and cell.flags.c_contiguous:
            a.storage.replace(new)
        else:
            a.storage.write(positions(cell, a.storage.root), new)
        return
    target = a.positions()[key]
    if isinstance(key, np.ndarray) and key.dtype.kind == "b" and new.ndim > target.ndim:
        new = new.reshape(-1)
    a.storage.write(np.array(target), fitted(new, np.shape(target)))


def scatter_add(a: TracedArray, key: Any, value: Any, sign: float = 1.0) -> None:
    """``np.add.at(a, key, value)``: every repetition of an index counts."""
    target = np.asarray(a.positions()[plain_key(key)])
    new = fitted(tensor(value), target.shape) * sign
    index = torch.from_numpy(np.array(target).reshape(-1))
    a.storage.replace(a.storage.flat().index_add(0, index, new.reshape(-1)))


def plain_scatter(*_: Any) -> Any:
    """The target of an ``at`` is a plain array but what is added depends on the primals."""
    return leave("ufunc.at into a plain array with traced values")


class Flat:
    """``x.flat``: read, written and iterated in C order."""

    def __init__(self, a: TracedArray) -> None:
        self._a = a

    def _at(self, key: Any) -> Array:
        return np.asarray(self._a.positions().reshape(-1)[plain_key(key)])

    def __getitem__(self, key: Any) -> Any:
        return wrap(gather(self._a.storage.flat(), self._at(key)), self._a.dtype)

    def __setitem__(self, key: Any, value: Any) -> None:
        target = self._at(key)
        new = tensor(value).reshape(-1)
        if new.numel() != target.size:  # NumPy repeats what is too short
            new = new[torch.arange(target.size) % new.numel()]
        self._a.storage.write(np.array(target), new.reshape(target.shape))

    def __iter__(self) -> Iterator[Any]:
        return iter(np.ravel(self._a))

    def __len__(self) -> int:
        return self._a.size

    def copy(self) -> Any:
        return self[:]
