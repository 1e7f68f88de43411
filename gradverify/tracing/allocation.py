"""Constructors during a trace: np.zeros gives a buffer that traced values can be written into.

``buffer = np.zeros((3, 4)); buffer[i] = row`` would end the trace, as NumPy wants plain floats there. So during a trace
the user's code sees constructors that make float arrays traced (``patching`` puts them there).
"""

# ruff: noqa: D103 - each is named as the function that it replaces
from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gradverify.tracing.array import array, dtype_of, holds_traced, is_traced, leave, stacked, tensor, wrap
from gradverify.tracing.dispatch import elementwise
from gradverify.tracing.tables import table
from gradverify.tracing.tape import tape, tracing


def fresh(x: Any) -> Any:
    """A plain float array as a traced buffer; anything else as it is."""
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        tape().claims(x.dtype)
        return wrap(tensor(x), x.dtype, scalar=False)
    return x


def constructor(original: Any) -> Callable[..., Any]:
    """np.zeros, np.ones_like, ...: computed by NumPy on plain shapes and fills, then made traced."""

    def construct(*args: Any, **kwargs: Any) -> Any:
        return fresh(original(*args, **kwargs))

    return construct


def full(original: Any) -> Callable[..., Any]:
    """np.full: the fill may be traced."""

    def filled(shape: Any, fill_value: Any, dtype: Any = None, **options: Any) -> Any:
        if not holds_traced(fill_value):
            return fresh(original(shape, fill_value, dtype, **options))
        if dtype is not None and np.dtype(dtype).kind != "f":
            leave("np.full of integers with a traced value")
        return np.copy(np.broadcast_to(array(fill_value), shape))

    return filled


def like(original: Any, fill: float | None) -> Callable[..., Any]:
    """np.zeros_like and its sisters, of a traced array: ``__array_function__`` brings them here."""

    def alike(a: Any, *args: Any, **kwargs: Any) -> Any:
        dtype = kwargs.pop("dtype", None)
        value: Any = fill
        if original is np.full_like:
            value = args[0] if args else kwargs.pop("fill_value")
            args = args[1:]
        dtype = args[0] if args and args[0] is not None else dtype
        shape = kwargs.get("shape")
        shape = np.shape(a) if shape is None else shape
        kind = np.dtype(a.dtype if dtype is None else dtype)
        if is_traced(value):
            return np.copy(np.broadcast_to(value, shape)).astype(kind)
        return fresh(np.full(shape, value, kind))

    return alike


table({
    name: like(getattr(np, name), fill)
    for name, fill in (("zeros_like", 0.0), ("ones_like", 1.0), ("empty_like", 0.0), ("full_like", None))
})  # fmt: skip


def converter(original: Any, *, copies: bool) -> Callable[..., Any]:
    """np.array and np.asarray: of a traced array, of a list with traced entries, or of anything else."""

    def convert(*args: Any, **kwargs: Any) -> Any:
        x: Any = args[0] if args else kwargs.get("object", kwargs.get("a"))
        dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
        if not holds_traced(x):
            made = original(*args, **kwargs)
            return fresh(made) if copies or not isinstance(x, np.ndarray) else made
        result: Any
        if not is_traced(x):
            result = wrap(stacked(x), scalar=False)
        else:
            result = wrap(x.t, x.dtype, scalar=False) if copies and kwargs.get("copy", True) else x
        if dtype is not None and np.dtype(dtype) != result.dtype:
            result = result.astype(dtype)
        missing = kwargs.get("ndmin", 0) - result.ndim
        return result[(None,) * missing] if missing > 0 else result

    return convert


def of_lists(original: Any) -> Callable[..., Any]:
    """np.sum([t1, t2]): NumPy asks the list nothing, so it is made an array first."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], (list, tuple)) and holds_traced(args[0]):
            args = (wrap(stacked(args[0]), scalar=False), *args[1:])
        return original(*args, **kwargs)

    return call


def scalar_function(original: Any, function: Any) -> Callable[..., Any]:
    """math.exp(t): the same as np.exp(t)."""

    def call(*args: Any) -> Any:
        return function(*args) if any(map(is_traced, args)) else original(*args)

    return call


class Concatenator:
    """np.r_ and np.c_ of arrays, some of them traced."""

    def __init__(self, original: Any, *, columns: bool) -> None:
        self._original = original
        self._columns = columns

    def __getitem__(self, key: Any) -> Any:
        if not holds_traced(key):
            return self._original[key]
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, str) for k in keys):
            leave("np.r_ with a directive")
        pieces = [np.atleast_1d(self._original[k] if isinstance(k, slice) else array(k)) for k in keys]
        if self._columns:
            return np.concatenate([p[:, None] if p.ndim == 1 else p for p in pieces], axis=-1)
        return np.concatenate(pieces)


def special(name: str) -> Callable[..., Any]:
    """A function of the ufunc table that NumPy itself has not: erf, and the like."""
    return lambda x: wrap(elementwise(name, (x,), [tensor(x)]), dtype_of(x))


class _Scalar(type):
    """Stands for a scalar type in every respect but the call."""

    original: type

    def __call__(cls, *args: Any) -> Any:
        if len(args) == 1 and is_traced(args[0]):
            if args[0].size != 1 or tracing() is None:
                return cls.original(*args)
            return np.reshape(args[0], ()).astype(np.dtype(cls.original))[()]
        return cls.original(*args)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.original)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.original)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is cls.original

    def __hash__(cls) -> int:
        return hash(cls.original)


def scalar_type(original: type) -> type:
    """``float`` or ``np.float32`` that leaves a traced scalar traced: ``float(np.sum(x))`` does not end the trace."""
    return _Scalar(original.__name__, (original,), {"original": original, "dtype": np.dtype(original)})


def vectorized(original: Any) -> Callable[..., Any]:
    """Calling an np.vectorize object: entry by entry."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if tracing() is None or not holds_traced((args, kwargs)):
            return original(self, *args, **kwargs)
        if kwargs or self.signature is not None or self.excluded:
            leave("np.vectorize with keywords, a signature or excluded arguments")
        whole = {id(getattr(math, name)): f for name, f in math_functions().items()}.get(id(self.pyfunc))
        if whole is not None:  # np.vectorize(math.erf)
            return whole(*args)
        arrays = np.broadcast_arrays(*(array(a) for a in args))
        flats = [np.ravel(a) for a in arrays]
        results = [self.pyfunc(*(f[k] for f in flats)) for k in range(arrays[0].size)]
        return np.reshape(np.stack([array(r) for r in results]), arrays[0].shape)

    return call


def as_strided(original: Any) -> Callable[..., Any]:
    """Windows by strides, on the shadow."""

    def call(x: Any, shape: Any = None, strides: Any = None, subok: bool = False, writeable: bool = True) -> Any:
        if not is_traced(x):
            return original(x, shape, strides, subok, writeable)
        steps = None if strides is None else tuple(int(s) // x.itemsize for s in strides)
        if steps is not None and x.size and x.storage.size:
            lengths = x.shape if shape is None else shape
            ids = sum(
                (np.arange(n) * s).reshape([-1 if k == i else 1 for k in range(len(steps))])
                for i, (n, s) in enumerate(zip(lengths, steps, strict=True))
            ) + int(x.positions().reshape(-1)[0])
            if np.min(ids) < 0 or np.max(ids) >= x.storage.size:
                leave("as_strided beyond the memory of the array")
        from gradverify.tracing.array import view

        return view(x, lambda s: original(s, shape, steps, subok, writeable))

    return call


def ndenumerate(original: Any) -> Callable[..., Any]:
    def call(a: Any) -> Any:
        return ((i, a[i]) for i in np.ndindex(*a.shape)) if is_traced(a) else original(a)

    return call


def softmax(original: Any) -> Callable[..., Any]:
    def call(x: Any, axis: Any = None) -> Any:
        if not is_traced(x):
            return original(x, axis)
        e = np.exp(x - np.max(x, axis=axis, keepdims=True))
        return e / np.sum(e, axis=axis, keepdims=True)

    return call


def logsumexp(original: Any) -> Callable[..., Any]:
    def call(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, **options: Any) -> Any:
        if not is_traced(a):
            return original(a, axis, b, keepdims, **options)
        if b is not None or options:
            leave("scipy.special.logsumexp with b=")
        from gradverify.tracing.reductions import logsumexp_of

        return logsumexp_of(a, axis, keepdims=keepdims)

    return call


def log_softmax(original: Any) -> Callable[..., Any]:
    def call(x: Any, axis: Any = None) -> Any:
        if not is_traced(x):
            return original(x, axis)
        from gradverify.tracing.reductions import logsumexp_of

        return x - logsumexp_of(x, axis, keepdims=True)

    return call


def bincount(original: Any) -> Callable[..., Any]:
    def call(x: Any, weights: Any = None, minlength: int = 0) -> Any:
        if not is_traced(weights):
            return original(x, weights, minlength)
        total = np.zeros(max(int(np.max(x)) + 1, minlength))
        result = array(total)
        np.add.at(result, np.asarray(x), weights)
        return result

    return call


def fromiter(original: Any) -> Callable[..., Any]:
    def call(iterable: Any, dtype: Any = float, count: int = -1, **options: Any) -> Any:
        items = list(iterable)
        return array(items).astype(dtype) if holds_traced(items) else original(items, dtype, count, **options)

    return call


MATH = [
    "exp",
    "log",
    "log2",
    "log10",
    "log1p",
    "expm1",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "fabs",
    "floor",
    "ceil",
    "trunc",
    "hypot",
    "isnan",
    "isinf",
    "isfinite",
    "copysign",
]
MATH_OTHER = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "pow": "power", "fmod": "fmod",
    "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip


MATH_SPECIAL = {"erf": "erf", "erfc": "erfc", "lgamma": "gammaln"}


def math_functions() -> dict[str, Callable[..., Any]]:
    """Name in ``math`` -> the same on traced scalars."""
    return {
        **{name: getattr(np, name) for name in MATH},
        **{name: getattr(np, other) for name, other in MATH_OTHER.items()},
        **{name: special(other) for name, other in MATH_SPECIAL.items()},
    }


def replacements() -> list[tuple[Any, str, Any]]:
    """(owner, attribute, replacement) of everything that is replaced during a trace."""
    found: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        if hasattr(owner, name):
            original = getattr(owner, name)
            found.append((owner, name, guarded(original, make(original))))

    for name in ("zeros", "ones", "empty", "eye", "identity", "zeros_like", "ones_like", "empty_like", "full_like",
                 "linspace", "tri"):  # fmt: skip
        put(np, name, constructor)
    put(np, "full", full)
    for name in ("array", "copy"):
        put(np, name, lambda original: converter(original, copies=True))
    for name in ("asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "asarray_chkfinite", "require"):
        put(np, name, lambda original: converter(original, copies=False))
    for name in ("sum", "mean", "prod", "max", "min", "amax", "amin", "var", "std", "cumsum", "argmax", "argmin",
                 "dot", "sort", "median", "any", "all"):  # fmt: skip
        put(np, name, of_lists)
    put(np.linalg, "norm", of_lists)
    put(np, "ndenumerate", ndenumerate)
    put(np, "bincount", bincount)
    put(np, "fromiter", fromiter)
    put(np.lib.stride_tricks, "as_strided", as_strided)
    for name, function in math_functions().items():
        put(math, name, partial(scalar_function, function=function))
    special = sys.modules.get("scipy.special")
    for name, make in (("softmax", softmax), ("logsumexp", logsumexp), ("log_softmax", log_softmax)):
        put(special, name, make)
    found.extend((np, name, scalar_type(getattr(np, name))) for name in ("float16", "float32", "float64"))
    found.extend((np, alias, scalar_type(getattr(np, alias))) for alias in ("half", "single", "double"))
    found.append((np, "r_", Concatenator(np.r_, columns=False)))
    found.append((np, "c_", Concatenator(np.c_, columns=True)))
    return found


def guarded(original: Any, replacement: Any) -> Any:
    """The replacement in a thread that traces, the original in all others."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return (original if tracing() is None else replacement)(*args, **kwargs)

    call.__name__ = getattr(original, "__name__", "call")
    call.__wrapped__ = original  # type: ignore[attr-defined]
    return call
