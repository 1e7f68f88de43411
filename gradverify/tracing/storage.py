"""Memory as NumPy has it, on immutable tensors: writes through any view reach the base and all other views.

A storage holds one flat tensor. A traced array is a storage and a *shadow*: a byte array that is never read, of which
only the address, shape and strides matter. Whatever NumPy does to the shadow (slice, transpose, reshape, window) says
exactly which elements the result has and whether it is a view.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradverify.tracing.lazy import Tensor, torch
from gradverify.types import Array


class Storage:
    """A flat tensor that is replaced, never changed, so that autograd sees no in-place operation."""

    __slots__ = ("_pending", "_root", "size", "value", "version")

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self.size: int = value.numel()
        self.version = 0
        self._pending: list[tuple[Array, Tensor]] = []
        self._root: Array | None = None

    @property
    def root(self) -> Array:
        """The shadow of the whole storage: ``size`` bytes that nobody reads."""
        if self._root is None:
            self._root = np.empty(self.size, np.uint8)
        return self._root

    @property
    def tracked(self) -> bool:
        """Does any element, now, depend on a primal?"""
        return bool(self.value.requires_grad) or any(v.requires_grad for _, v in self._pending)

    def flat(self) -> Tensor:
        """The current elements. Pending writes are settled together: n writes and one read cost one gather."""
        if self._pending:
            source = np.arange(self.size)  # where each element comes from in `pool`
            pool = [self.value.reshape(-1)]
            start = self.size
            for positions, values in self._pending:
                source[positions] = np.arange(start, start + positions.size).reshape(positions.shape)
                pool.append(values.reshape(-1))
                start += positions.size
            self._pending = []
            self.value = torch.cat(pool).index_select(0, torch.from_numpy(source))
        return self.value.reshape(-1)

    def write(self, positions: Array, values: Tensor) -> None:
        """Assign; where a position occurs twice the last value stays, as in NumPy."""
        self._pending.append((positions, values))
        self.version += 1

    def replace(self, value: Tensor) -> None:
        """Assign all elements at once."""
        self._pending = []
        self.value = value
        self.version += 1

    def read(self, shadow: Array) -> Tensor:
        """The elements that ``shadow`` shows, as a tensor of its shape."""
        shape, strides, n = shadow.shape, shadow.strides, shadow.size
        flat = self.flat()
        if shadow.flags.c_contiguous:
            start = offset_of(shadow, self.root) if n else 0
            whole = n == self.size
            return (flat if whole else flat.narrow(0, start, n)).reshape(shape)
        if n == self.size and all(s > 0 for s in strides):  # a permutation of the whole: no gather
            order = sorted(range(len(shape)), key=lambda k: (-strides[k], shape[k] == 1, k))
            base = [shape[k] for k in order]
            expected = np.cumprod([1, *base[:0:-1]])[::-1].tolist()
            if all(shape[k] == 1 or strides[k] == e for k, e in zip(order, expected, strict=True)):
                return flat.reshape(base).permute([order.index(k) for k in range(len(shape))])
        return gather(flat, positions(shadow, self.root))


def offset_of(shadow: Array, root: Array) -> int:
    """Index of the first element of ``shadow`` in its storage: one byte is one element."""
    return int(shadow.__array_interface__["data"][0] - root.__array_interface__["data"][0])


def positions(shadow: Array, root: Array) -> Array:
    """Which element of the storage each entry of ``shadow`` is. Same shape, int64."""
    found = np.array(offset_of(shadow, root) if shadow.size else 0, dtype=np.int64)
    for length, stride in zip(shadow.shape, shadow.strides, strict=True):
        found = found[..., None] + np.arange(length) * stride
    return found


def gather(flat: Tensor, index: Any) -> Tensor:
    """``flat[index]`` for an integer array of any shape."""
    index = np.require(index, dtype=np.int64, requirements="W")
    return flat.index_select(0, torch.from_numpy(index.reshape(-1))).reshape(index.shape)
