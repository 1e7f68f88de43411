"""Methods of ndarray on a traced array: most are the NumPy function of the same name."""

# ruff: noqa: D103 - functions with NumPy's own names and signatures, not all of whose options have a meaning here
from __future__ import annotations

from typing import Any

import numpy as np

from gradverify.tracing.array import TracedArray, leave, tensor, view, wrap
from gradverify.tracing.elementwise import jumps
from gradverify.tracing.reductions import partition as partition_of
from gradverify.tracing.reductions import sort as sort_of
from gradverify.tracing.tape import tape, tracing

SAME = """sum mean var std prod max min argmax argmin any all cumsum cumprod dot take repeat squeeze swapaxes diagonal
trace argsort argpartition nonzero searchsorted compress choose round put ravel ptp"""


def _method(name: str) -> Any:
    function = getattr(np, name)
    if name == "compress":  # the array comes second
        return lambda self, condition, *args, **kwargs: function(condition, self, *args, **kwargs)

    def method(self: TracedArray, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    method.__name__ = name
    return method


def one_or_many(args: tuple[Any, ...]) -> Any:
    """``x.reshape(2, 3)`` and ``x.reshape((2, 3))``."""
    return args[0] if len(args) == 1 else args


def reshape(self: TracedArray, *shape: Any, order: Any = "C", copy: Any = None) -> Any:
    target = shape[0] if len(shape) == 1 else shape
    return view(self, lambda s: s.reshape(target, order=order))


def transpose(self: TracedArray, *axes: Any) -> Any:
    return view(self, lambda s: s.transpose(*axes))


def flatten(self: TracedArray, order: Any = "C") -> Any:
    moved = view(self, lambda s: s.reshape(-1, order=order))
    return wrap(moved.t, self.dtype)


def copy(self: TracedArray, order: Any = "C") -> Any:
    return wrap(self.t, self.dtype, scalar=self._scalar)


def astype(self: TracedArray, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: Any = True,
           copy: Any = True) -> Any:  # fmt: skip
    """To another float dtype: nothing is rounded. To integers or bools: plain, a step function."""
    target = np.dtype(dtype)
    if tracing() is None:
        return self.value.astype(self.dtype).astype(target)
    if target.kind == "f":
        if np.finfo(target).eps > np.finfo(self.dtype).eps:
            tape().note(f"astype({target.name}) of a {self.dtype.name} array was not rounded")
        tape().claims(target)
        return self if not copy and target == self.dtype else wrap(self.t, target, scalar=self._scalar)
    if target.kind in "iub":
        t = tensor(self)
        value = t.detach()
        jumps(f"astype({target.name})", t, value == 0 if target.kind == "b" else (value == value.round()))
        return self.value.astype(target)
    return leave(f"astype({target.name}) of a traced array")


def clip(self: TracedArray, min: Any = None, max: Any = None, **options: Any) -> Any:
    return np.clip(self, min, max, **options)  # NumPy 2.0 asks for both


def fill(self: TracedArray, value: Any) -> None:
    self[...] = value


def tolist(self: TracedArray) -> Any:
    """Nested lists of traced scalars, as long as they depend on the primals."""
    if not self.tracked or tracing() is None:
        return self.value.tolist()
    return [tolist(row) if row.ndim else row for row in self] if self.ndim else self


def sort(self: TracedArray, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
    self[...] = sort_of(self, axis)


def partition(self: TracedArray, kth: Any, axis: Any = -1, kind: Any = "introselect", order: Any = None) -> None:
    self[...] = partition_of(self, kth, axis)


def conj(self: TracedArray) -> Any:
    return self


TABLE: dict[str, Any] = {
    **{name: _method(name) for name in SAME.split() if hasattr(np, name)},
    "reshape": reshape, "transpose": transpose, "flatten": flatten, "copy": copy, "astype": astype, "fill": fill,
    "tolist": tolist, "clip": clip, "sort": sort, "partition": partition, "conj": conj, "conjugate": conj,
}  # fmt: skip

for _name, _function in TABLE.items():
    setattr(TracedArray, _name, _function)
