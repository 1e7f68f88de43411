"""Functions that only move data: the real NumPy function runs on positions, then one gather.

``np.roll(x, 1)`` of a traced x is ``values[np.roll(positions, 1)]``: NumPy's own code decides what goes where, with
all its options. Position 0 is a constant zero, so what a function fills with zeros is a zero.
"""

# ruff: noqa: D103 - functions with NumPy's own names and signatures, not all of whose options have a meaning here
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.tracing.array import (
    TracedArray,
    array,
    dtype_of,
    each,
    holds_traced,
    is_traced,
    leave,
    tensor,
    view,
    wrap,
)
from gradverify.tracing.bend import node
from gradverify.tracing.indexing import scatter_add, setitem
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.storage import gather
from gradverify.tracing.tables import UFUNC_METHODS, implements, numpy_function, table
from gradverify.tracing.tape import tape
from gradverify.types import Array

VIEWS = """reshape ravel transpose permute_dims swapaxes moveaxis rollaxis squeeze expand_dims broadcast_to atleast_1d
atleast_2d atleast_3d flip fliplr flipud rot90 diagonal linalg.diagonal split array_split hsplit vsplit dsplit
matrix_transpose linalg.matrix_transpose unstack real lib.stride_tricks.sliding_window_view"""

ALIKE = 1e-6  #: relative difference of the two branches of a where that are two formulas for one function

#: one array is moved or copied: what else is in the arguments are parameters
COPIES = "take repeat roll tile diag diagflat tril triu delete resize compress extract trim_zeros take_along_axis"

#: several arrays are brought together: name -> (positions of the arguments, names of the arguments) that are data
JOINS: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "concatenate": ((0,), ("arrays",)), "concat": ((0,), ("arrays",)), "stack": ((0,), ("arrays",)),
    "vstack": ((0,), ("tup",)), "hstack": ((0,), ("tup",)), "dstack": ((0,), ("tup",)),
    "column_stack": ((0,), ("tup",)), "block": ((0,), ("arrays",)), "append": ((0, 1), ("arr", "values")),
    "insert": ((0, 2), ("arr", "values")), "choose": ((1,), ("choices",)),
    "select": ((1, 2), ("choicelist", "default")), "pad": ((0,), ("array", "constant_values")),
    "broadcast_arrays": ((0, 1, 2, 3, 4, 5), ()), "meshgrid": ((0, 1, 2, 3, 4, 5), ()),
}  # fmt: skip


class Pool:
    """Arrays end to end behind a constant zero; each is handed out as the array of its positions."""

    def __init__(self) -> None:
        self.parts: list[Tensor] = [torch.zeros(1, dtype=tape().dtype)]
        self.size = 1

    def add(self, x: Any) -> Any:
        t = tensor(x)
        ids = np.arange(self.size, self.size + t.numel(), dtype=np.int64).reshape(tuple(t.shape))
        self.parts.append(t.reshape(-1))
        self.size += t.numel()
        return ids

    def data(self, x: Any) -> Any:
        """An argument that is data: arrays, numbers, or nested lists of them."""
        if type(x) in (list, tuple) and holds_traced(x):
            return type(x)(self.data(e) for e in x)
        if type(x) in (list, tuple) and any(isinstance(e, np.ndarray) for e in x):
            return type(x)(self.data(e) for e in x)
        return self.add(x)

    def out(self, moved: Any, dtype: Any) -> Any:
        flat = torch.cat(self.parts)
        if isinstance(moved, (list, tuple)):
            return type(moved)(wrap(gather(flat, m), dtype) for m in moved)
        return wrap(gather(flat, moved), dtype)


def viewing(function: Any) -> Callable[..., Any]:
    """A function of one array that may give a view."""

    def viewed(*args: Any, **kwargs: Any) -> Any:
        sources: list[TracedArray] = []
        each(sources.append, (args, kwargs))
        if len(sources) != 1:
            leave(f"np.{function.__name__} of several arrays")
        return view(sources[0], lambda s: function(*each(lambda _: s, args), **each(lambda _: s, kwargs)))

    return viewed


def copying(function: Any) -> Callable[..., Any]:
    """A function that copies entries of one array, zeros besides."""

    def copied(*args: Any, **kwargs: Any) -> Any:
        pool = Pool()
        dtypes: list[Any] = []

        def moved(a: TracedArray) -> Array:
            dtypes.append(a.dtype)
            ids: Array = pool.add(a)
            return ids

        args, kwargs = each(moved, args), each(moved, kwargs)
        if len(dtypes) != 1:
            leave(f"np.{function.__name__} with several traced arguments")
        return pool.out(function(*args, **kwargs), dtypes[0])

    return copied


def joining(function: Any, places: tuple[int, ...], names: tuple[str, ...]) -> Callable[..., Any]:
    """A function that brings several arrays together."""

    def joined(*args: Any, dtype: Any = None, casting: Any = None, **kwargs: Any) -> Any:
        pool = Pool()
        sources: list[TracedArray] = []
        each(sources.append, (args, kwargs))
        args = tuple(pool.data(x) if k in places else x for k, x in enumerate(args))
        kwargs = {k: pool.data(x) if k in names else x for k, x in kwargs.items()}
        if holds_traced((args, kwargs)):
            leave(f"np.{function.__name__} with a traced parameter")
        return pool.out(function(*args, **kwargs), np.dtype(dtype) if dtype is not None else dtype_of(*sources))

    return joined


for _name in VIEWS.split():
    if numpy_function(_name) is not None:
        table({_name: viewing(numpy_function(_name))})
for _name in COPIES.split():
    table({_name: copying(numpy_function(_name))})
for _name, (_places, _names) in JOINS.items():
    if numpy_function(_name) is not None:
        table({_name: joining(numpy_function(_name), _places, _names)})


@implements("pad")
def pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    """All modes that copy; mean, linear_ramp and functions compute and are not traced."""
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap", "empty", "maximum", "minimum"):
        leave(f"np.pad with mode={mode!r}")
    if mode in ("maximum", "minimum") or options.get("reflect_type", "even") != "even":
        leave(f"np.pad with mode={mode!r} and these options")
    if "constant_values" in options and not holds_traced(options["constant_values"]):
        fill = options["constant_values"]
        if np.ndim(fill) == 0 and float(fill) == 0:
            options = {k: v for k, v in options.items() if k != "constant_values"}
    return joining(np.pad, (0,), ("constant_values",))(array, pad_width, mode=mode, **options)


@implements("where")
def where(condition: Any, *branches: Any) -> Any:
    """np.where. With one argument the plain positions."""
    condition = condition.value != 0 if is_traced(condition) else np.array(condition, dtype=bool)
    if not branches:
        return np.where(condition)
    x, y = (tensor(b) for b in branches)
    mask = torch.from_numpy(condition)
    if tape().other_branch:
        mask = mask ^ _alike(*torch.broadcast_tensors(mask, x.detach(), y.detach()))
    result = torch.where(mask, x, y)
    # the node of a relu written with where: what a missing derivative would let through is the first tracked branch
    through = x if x.requires_grad else y
    return wrap(node("where", through, result), dtype_of(*branches))


def _alike(mask: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The entries at which both branches give the same to a few digits, and not to the last."""
    return (x != y) & ((x - y).abs() <= ALIKE * torch.where(mask, x, y).abs())


@implements("take_along_axis")
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    return copying(np.take_along_axis)(arr, indices, axis)


@implements("put_along_axis")
def put_along_axis(arr: Any, indices: Any, values: Any, axis: Any) -> None:
    """In place; into a plain array only plain values can go."""
    own(arr, "np.put_along_axis")
    places = np.take_along_axis(arr.positions(), indices, axis)
    arr.storage.write(places, torch.broadcast_to(tensor(values), places.shape))


def own(target: Any, name: str) -> None:
    """The target of an in-place function must be a traced array."""
    if not is_traced(target):
        leave(f"{name} of traced values into a plain array")


@implements("copyto")
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    own(dst, "np.copyto")
    if where is True:
        setitem(dst, Ellipsis, src)
    else:
        mask = np.broadcast_to(where, dst.shape)
        setitem(dst, mask, np.broadcast_to(array(src), dst.shape)[mask])


@implements("putmask")
def putmask(a: Any, mask: Any, values: Any) -> None:
    own(a, "np.putmask")
    mask = np.array(mask, dtype=bool)
    setitem(a, mask, np.resize(array(values), mask.shape)[mask])


@implements("place")
def place(arr: Any, mask: Any, vals: Any) -> None:
    own(arr, "np.place")
    mask = np.array(mask, dtype=bool)
    setitem(arr, mask, np.resize(array(vals), int(mask.sum())))


@implements("put")
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    own(a, "np.put")
    a.flat[np.asarray(ind)] = v


@implements("fill_diagonal")
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    own(a, "np.fill_diagonal")
    step = a.shape[1] + 1 if a.ndim == 2 else 1 + int(np.cumprod(a.shape[:-1]).sum())
    end = None if wrap or a.ndim > 2 else a.shape[1] * a.shape[1]
    a.flat[:end:step] = val


@implements("unique", "unique_values")
def unique(ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
           axis: Any = None, **options: Any) -> Any:  # fmt: skip
    """The entries at the first occurrences; the rest plain."""
    if axis is not None:
        leave("np.unique with axis=")
    _, index, inverse, counts = np.unique(array(ar).value, True, True, True, **options)
    found = [np.ravel(ar)[index]]
    asked = zip((return_index, return_inverse, return_counts), (index, inverse, counts), strict=True)
    found += [part for wanted, part in asked if wanted]
    return found[0] if len(found) == 1 else tuple(found)


@implements("may_share_memory", "shares_memory")
def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    if not (is_traced(a) and is_traced(b)):
        return False
    return a.storage is b.storage and bool(np.shares_memory(a.shadow, b.shadow))


def ufunc_at(ufunc: Any, inputs: Any, kwargs: dict[str, Any]) -> None:
    """add.at and subtract.at; others only on indices that do not repeat, where they are plain assignment."""
    target, key, *values = inputs
    if not is_traced(target):
        leave(f"np.{ufunc.__name__}.at of traced values into a plain array")
    if ufunc.__name__ in ("add", "subtract"):
        scatter_add(target, key, values[0], 1.0 if ufunc is np.add else -1.0)
        return
    places = np.ravel(target.positions()[key])
    if np.unique(places).size != places.size:
        leave(f"np.{ufunc.__name__}.at with repeated indices")
    setitem(target, key, ufunc(target[key], *values))


UFUNC_METHODS["at"] = ufunc_at
