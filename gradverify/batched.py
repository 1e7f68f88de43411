"""An array that is k variants of an array at once: NumPy code runs unchanged on all of them together.

``Batched`` speaks NumPy's dispatch protocols (NEP 13 and 18). User code sees the shape of one variant, so that
``x.shape[0]``, ``sum()`` over everything, ``axis=0``, ``.T`` and ``reshape(-1)`` mean what they mean for one; common
operations run on the whole stack, all others variant by variant. What cannot be answered for all variants together
(``float(x)``, a branch that they would take differently, ``np.array(x)``) raises ``Escaped``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradverify.types import Array


class Escaped(TypeError):
    """The code asked for something that k variants cannot answer with one value."""


class Batched(np.lib.mixins.NDArrayOperatorsMixin):
    """``data`` (k, *shape): k variants of an array of ``shape``."""

    __array_priority__ = 1000.0

    def __init__(self, data: Array) -> None:
        self.data = data

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape[1:]

    @property
    def ndim(self) -> int:
        return self.data.ndim - 1

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=int))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def T(self) -> Batched:
        return Batched(np.transpose(self.data, (0, *range(self.ndim, 0, -1))))

    @property
    def real(self) -> Batched:
        return Batched(self.data.real)

    @property
    def imag(self) -> Batched:
        return Batched(self.data.imag)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Batched]:
        return (self[i] for i in range(len(self)))

    def __array__(self, *_: Any, **__: Any) -> Array:
        raise Escaped("np.asarray of a stack of variants")

    def __bool__(self) -> bool:
        truth = self.data.reshape(len(self.data), -1)
        if self.size != 1 or np.any(truth != truth[0]):
            raise Escaped("a branch on a value that differs from variant to variant")
        return bool(truth[0, 0])

    def _number(self) -> Any:
        raise Escaped("one number asked of a stack of variants")

    __float__ = __int__ = __index__ = __complex__ = item = tolist = _number

    def __getitem__(self, key: Any) -> Batched:
        if any(isinstance(x, Batched) for x in (key if isinstance(key, tuple) else (key,))):
            return self._item(key)
        keys = key if isinstance(key, tuple) else (key,)
        # a mask or an index array moves to the front where it is split by a slice: with the variants' axis in front
        # of it NumPy would count that axis as the split
        fancy = [isinstance(x, (list, np.ndarray, bool, np.bool_)) for x in keys]
        if any(fancy) and not all(f or isinstance(x, (int, np.integer)) for f, x in zip(fancy, keys, strict=True)):
            return self._item(key)
        return Batched(self.data[(slice(None), *keys)])

    def _item(self, key: Any) -> Batched:
        found: Batched = _one_by_one(lambda x, i: x[i], (self, key), {})
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        for i in range(len(self.data)):
            self.data[i][_variant(key, i)] = _variant(value, i)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        where = out[0] if out is not None else None
        if method == "reduce" and ufunc in REDUCTIONS and where is None and isinstance(inputs[0], Batched):
            return _reduced(ufunc.reduce, inputs[0], **{"axis": 0, **kwargs})
        if method == "__call__" and ufunc.signature is None and not kwargs.keys() - {"dtype", "casting"}:
            result = ufunc(*_aligned(inputs), **kwargs)
            result = tuple(map(Batched, result)) if isinstance(result, tuple) else Batched(result)
        elif method == "__call__" and ufunc is np.matmul and not kwargs:
            result = _matmul(*inputs)
        elif method == "at":
            for i in range(len(self.data)):
                ufunc.at(*(_variant(x, i) for x in inputs))
            return None
        else:
            call: Callable[..., Any] = ufunc if method == "__call__" else getattr(ufunc, method)
            result = _one_by_one(call, inputs, kwargs)
        return result if where is None else _into(where, result)

    def __array_function__(self, func: Any, _: Any, args: Any, kwargs: Any) -> Any:
        if "out" in kwargs:
            raise Escaped(f"{func.__name__} into a given array")
        if func in HANDLED and (found := HANDLED[func](*args, **kwargs)) is not None:
            return found
        return _one_by_one(func, args, kwargs)

    # --- the methods of an array ------------------------------------------------------------------------------

    def reshape(self, *shape: Any, order: str = "C") -> Batched:
        shape = shape[0] if len(shape) == 1 else shape
        return np.reshape(self, shape, order=order)  # type: ignore[call-overload, no-any-return]  # our own dispatch

    def transpose(self, *axes: Any) -> Any:
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def astype(self, dtype: Any, **_: Any) -> Batched:
        return Batched(self.data.astype(dtype))

    def copy(self, *_: Any) -> Batched:
        return Batched(self.data.copy())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not callable(getattr(np.ndarray, name, None)):
            raise AttributeError(name)
        if (func := getattr(np, name, None)) is not None and callable(func):
            return lambda *args, **kwargs: func(self, *args, **kwargs)
        return lambda *args, **kwargs: _one_by_one(lambda x, *a, **k: getattr(x, name)(*a, **k), (self, *args), kwargs)


def _variant(value: Any, i: int) -> Any:
    """Variant ``i`` of whatever holds stacks."""
    if isinstance(value, Batched):
        return value.data[i]
    if type(value) in (list, tuple):
        return type(value)(_variant(v, i) for v in value)
    return value


def _count(value: Any) -> int:
    if isinstance(value, Batched):
        return len(value.data)
    return max(map(_count, value), default=0) if isinstance(value, (list, tuple)) else 0


def _one_by_one(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """``func`` on every variant by itself."""
    k = max(_count(args), _count(tuple(kwargs.values())))
    found = [func(*_variant(tuple(args), i), **{n: _variant(v, i) for n, v in kwargs.items()}) for i in range(k)]
    return _joined(found)


def _joined(found: list[Any]) -> Any:
    if isinstance(found[0], (list, tuple)):
        return type(found[0])(_joined(list(parts)) for parts in zip(*found, strict=True))
    if isinstance(found[0], (np.ndarray, np.generic, float, complex)):
        return Batched(np.stack([np.asarray(f) for f in found]))
    if all(f == found[0] for f in found):
        return found[0]
    raise Escaped("an answer that differs from variant to variant")


def _aligned(inputs: Any) -> list[Any]:
    """The data of the inputs, with axes of 1 behind the variants' axis so that the others broadcast from the right."""
    most = max(np.ndim(x) for x in inputs)
    return [
        x.data.reshape(len(x.data), *(1,) * (most - x.ndim), *x.shape) if isinstance(x, Batched) else x for x in inputs
    ]


def _matmul(a: Any, b: Any) -> Batched:
    if np.ndim(a) > 1 and np.ndim(b) > 1:
        return Batched(np.matmul(*_aligned((a, b))))
    result: Batched = _one_by_one(np.matmul, (a, b), {})
    return result


def _into(where: Any, result: Any) -> Any:
    """``result`` written into an array that the code holds, as ``x += y`` does."""
    if not isinstance(where, Batched) or not isinstance(result, Batched) or where.shape != result.shape:
        raise Escaped("variants written into one array")
    np.copyto(where.data, result.data, casting="same_kind")
    return where


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    chosen = range(ndim) if axis is None else (axis,) if np.ndim(axis) == 0 else axis
    return tuple(int(x) % ndim + 1 if -ndim <= x < ndim else _no_axis(x, ndim) for x in chosen)


def _no_axis(axis: int, ndim: int) -> int:
    raise np.exceptions.AxisError(axis, ndim)


def _reduced(func: Callable[..., Any], x: Any, axis: Any = None, **kwargs: Any) -> Any:
    """A reduction over axes of one variant."""
    if not isinstance(x, Batched) or not x.ndim or any(isinstance(v, Batched) for v in kwargs.values()):
        return None
    axes = _axes(axis, x.ndim)
    if len(axes) == x.ndim and not kwargs.get("keepdims"):
        return Batched(func(np.ascontiguousarray(x.data).reshape(len(x.data), -1), axis=1, **kwargs))
    return Batched(func(x.data, axis=axes if len(axes) > 1 else axes[0], **kwargs))


def _reducer(func: Any) -> Callable[..., Any]:
    def reduce(x: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        more = {} if dtype is None else {"dtype": dtype}
        return _reduced(func, x, axis, keepdims=keepdims, **more) if out is None else None

    return reduce


def _extremum(func: Any) -> Callable[..., Any]:
    def reduce(x: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        return _reduced(func, x, axis, keepdims=keepdims) if out is None else None

    return reduce


def _reshape(x: Any, shape: Any = None, order: str = "C", **_: Any) -> Any:
    if order != "C" or shape is None or not isinstance(x, Batched):
        return None
    sizes = (shape,) if np.ndim(shape) == 0 else tuple(shape)
    one = np.broadcast_to(np.int8(0), x.shape).reshape(sizes) if -1 not in sizes else np.empty(x.shape, np.int8)
    return Batched(x.data.reshape(len(x.data), *(one.reshape(sizes).shape)))


def _transpose(x: Any, axes: Any = None) -> Any:
    order = range(x.ndim - 1, -1, -1) if axes is None else axes
    return Batched(np.transpose(x.data, (0, *_axes(tuple(order), x.ndim))))


def _where(condition: Any, *sides: Any) -> Any:
    return Batched(np.where(*_aligned((condition, *sides)))) if sides else None


def _expand_dims(x: Any, axis: int) -> Any:
    return Batched(np.expand_dims(x.data, axis + 1 if axis >= 0 else axis)) if np.ndim(axis) == 0 else None


def _joiner(func: Any, extra: int) -> Callable[..., Any]:
    def join(arrays: Any, axis: int | None = 0) -> Any:
        k = _count(arrays)
        if axis is None or not isinstance(arrays, (list, tuple)):
            return None
        parts = [x.data if isinstance(x, Batched) else np.broadcast_to(x, (k, *np.shape(x))) for x in arrays]
        ndim = parts[0].ndim - 1 + extra
        return Batched(func(parts, axis=_axes(axis, ndim)[0]))

    return join


def _dot(a: Any, b: Any) -> Any:
    return _matmul(a, b) if np.ndim(a) == 2 and np.ndim(b) == 2 else None


def _like(func: Any) -> Callable[..., Any]:
    def make(x: Any, *fill: Any, dtype: Any = None) -> Any:
        return Batched(func(x.data, *fill, dtype=dtype)) if isinstance(x, Batched) and not _count(fill) else None

    return make


def _copy(x: Any) -> Any:
    return Batched(x.data.copy())


#: order matters to no reduction of these; add is summed pairwise along each variant as it is for one
REDUCTIONS = {np.add, np.multiply, np.maximum, np.minimum, np.logical_and, np.logical_or}
#: NumPy function -> a rule for the whole stack; a rule that answers None leaves it to one-by-one
HANDLED: dict[Any, Callable[..., Any]] = {
    **{f: _reducer(f) for f in (np.sum, np.mean, np.prod)},
    **{f: _extremum(f) for f in (np.max, np.amax, np.min, np.amin, np.any, np.all)},
    **{f: _like(f) for f in (np.zeros_like, np.ones_like, np.empty_like, np.full_like)},
    np.reshape: _reshape, np.ravel: lambda x, order="C": _reshape(x, (-1,), order), np.transpose: _transpose,
    np.where: _where, np.expand_dims: _expand_dims, np.dot: _dot, np.copy: _copy,
    np.concatenate: _joiner(np.concatenate, 0), np.stack: _joiner(np.stack, 1),
    np.shape: lambda x: x.shape, np.ndim: lambda x: x.ndim, np.size: lambda x: x.size,
}  # fmt: skip
