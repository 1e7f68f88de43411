"""The two doors of NumPy's protocols: a ufunc (NEP 13) or a function (NEP 18) was called on a traced array."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradverify.tracing.array import (
    dtype_of,
    each,
    holds_tracked,
    is_traced,
    leave,
    tensor,
    wrap,
)
from gradverify.tracing.bend import node_of_one
from gradverify.tracing.elementwise import COMPARISONS, NODES, PLAIN, STEPS, compared, jumps
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.outlived import called
from gradverify.tracing.patterns import composite, remember
from gradverify.tracing.tables import FUNCTIONS, UFUNC_METHODS, UFUNCS
from gradverify.tracing.tape import tape, tracing


def name_of(function: Any) -> str:
    """``np.fft.fft`` as its user writes it."""
    module = getattr(function, "__module__", None) or "numpy"
    if isinstance(function, np.ufunc):
        module = "numpy" if getattr(np, function.__name__, None) is function else "scipy.special"
    return f"{module}.{function.__name__}".replace("numpy.", "np.", 1).replace("np._core.multiarray.", "np.")


def plain(x: Any) -> Any:
    """``x`` with traced arrays replaced by private plain copies."""
    return each(lambda a: a.value if not a._scalar else a.value[()], x)


def rewrap(x: Any, dtype: Any = None) -> Any:
    """Plain float results become arrays that can be written into; everything else stays."""
    if isinstance(x, (np.ndarray, np.floating)) and x.dtype.kind == "f":
        return wrap(tensor(x), dtype or x.dtype, scalar=not isinstance(x, np.ndarray))
    return x


def deliver(result: Any, out: Any) -> Any:
    """Put ``result`` where ``out=`` says."""
    if out is None:
        return result
    if is_traced(out):
        out.assign(tensor(result))
        return out
    if holds_tracked(result):
        leave("a traced value was written with out= (or +=, *=) into a plain array")
    np.copyto(out, plain(result), casting="unsafe")
    return out


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """NEP 13: what a ufunc, or one of its methods, does to traced arrays."""
    if tracing() is None:
        return called(getattr(ufunc, method), inputs, kwargs)
    if ufunc.__name__ in COMPARISONS and ufunc.nin == 2 and method == "__call__" and "out" not in kwargs:
        return compared(ufunc.__name__, inputs[0], inputs[1], np.asarray(ufunc(*plain(inputs), **kwargs))[()])
    outs = kwargs.pop("out", None)
    out = outs[0] if outs is not None and len(outs) == 1 else None
    if outs is not None and len(outs) > 1:
        leave(f"{name_of(ufunc)} with several out=")
    if method != "__call__":
        if method not in UFUNC_METHODS:
            leave(f"{name_of(ufunc)}.{method} is not traced")
        return deliver(UFUNC_METHODS[method](ufunc, inputs, kwargs), out)
    where = kwargs.pop("where", True)
    if not holds_tracked(inputs) and not (is_traced(out) and where is not True):
        if where is not True:
            kwargs["where"] = where
        if out is not None:
            kwargs["out"] = np.array(plain(out))
        result = ufunc(*plain(inputs), **kwargs)
        return deliver(result, out) if out is not None else each_float(result, dtype_of(*inputs))
    return deliver(traced_call(ufunc, inputs, kwargs, where, out), out)


def each_float(result: Any, dtype: Any) -> Any:
    """``rewrap`` for one or several results."""
    return tuple(rewrap(r, dtype) for r in result) if isinstance(result, tuple) else rewrap(result, dtype)


def traced_call(ufunc: Any, inputs: tuple[Any, ...], kwargs: dict[str, Any], where: Any, out: Any) -> Any:
    """A plain call of a ufunc with at least one tracked input, without ``out``."""
    name = ufunc.__name__
    if name in PLAIN:
        return ufunc(*plain(inputs), where=where, **kwargs)
    if name in STEPS:
        values = plain(inputs)
        with np.errstate(all="ignore"):
            on_step = np.broadcast_to(STEPS[name](*values), np.broadcast_shapes(*map(np.shape, values)))
        x = tensor(inputs[0]).expand(on_step.shape)
        jumps(name, x, torch.from_numpy(np.array(on_step)))
        return rewrap(ufunc(*values, where=where), dtype_of(*inputs))
    if name in ("divmod", "modf"):
        whole, part = (np.floor_divide, np.remainder) if name == "divmod" else (np.trunc, None)
        first = whole(*inputs)
        second = part(*inputs) if part is not None else inputs[0] - first
        return (first, second) if name == "divmod" else (second, first)
    if name not in UFUNCS:
        leave(f"{name_of(ufunc)} is not traced")
    if kwargs.get("axes") is not None or kwargs.get("axis") not in (None, -1):
        leave(f"{name_of(ufunc)} with axes=")
    dtype = kwargs.get("dtype")
    tensors = [x if x is None else tensor(x) for x in inputs]
    if name == "log":
        tensors[0] = tape().before_epsilon(tensors[0])
    if where is not True and where is not np.True_:
        result = masked(UFUNCS[name], tensors, where, out)
    else:
        result = composite(name, inputs, tensors)
        if result is None:
            result = elementwise(name, inputs, tensors)
            remember(name, inputs, tensors, result)
            if name == "add":
                tape().note_epsilon(inputs, tensors, result)
            elif name == "multiply" and result.ndim == 0:
                tape().note_factor(inputs, result)
    return wrap(result, np.dtype(dtype) if dtype is not None else dtype_of(*inputs))


def elementwise(name: str, inputs: tuple[Any, ...], tensors: list[Tensor]) -> Tensor:
    """Apply; where a derivative can be forgotten, register the node."""
    f = UFUNCS[name]
    y = f(*tensors)
    tracked = [k for k, t in enumerate(tensors) if t is not None and t.requires_grad]
    if name == "divide":
        if 1 in tracked:
            return node_of_one("divide" if 0 not in tracked else "denominator", f, tensors, 1, y)
        return y
    if name == "multiply" and len(tracked) == 1 and is_mask(inputs[1 - tracked[0]]):
        return node_of_one("mask", f, tensors, tracked[0], y)
    if name in NODES and len(tracked) == 1:
        if name in ("power", "float_power") and tracked == [0] and tensors[1].ndim == 0 and float(tensors[1]) == 1:
            return y
        return node_of_one(name, f, tensors, tracked[0], y)
    return y


def is_mask(x: Any) -> bool:
    """A plain array of zeros and ones: a comparison's result, or a dropout mask."""
    if is_traced(x) or not isinstance(x, np.ndarray) or x.ndim == 0:
        return False
    return x.dtype.kind == "b" or (x.dtype.kind in "fiu" and bool(np.all((x == 0) | (x == 1))))


def masked(f: Any, tensors: list[Tensor], where: Any, out: Any) -> Tensor:
    """``where=``: compute the chosen entries only, so that the others put no NaN into the gradient."""
    mask = torch.from_numpy(np.array(plain(where), dtype=bool))
    shape = torch.broadcast_shapes(mask.shape, *(t.shape for t in tensors), *([out.shape] if out is not None else []))
    mask = mask.expand(shape)
    chosen = f(*(t.expand(shape)[mask] for t in tensors))
    base = torch.zeros(shape, dtype=tape().dtype) if out is None else tensor(out).expand(shape).clone()
    return base.masked_scatter(mask, chosen)


#: functions that write into an argument: on a copy they would do nothing, in silence
WRITERS = frozenset(["copyto", "put", "place", "putmask", "fill_diagonal", "put_along_axis"])


def call_function(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """NEP 18: what a NumPy function does to traced arrays."""
    if tracing() is None:
        return called(function, args, kwargs)
    traced = FUNCTIONS.get(function)
    if traced is not None:
        out = kwargs.pop("out", None)
        return deliver(traced(*args, **kwargs), out)
    if holds_tracked((args, kwargs)) or function.__name__ in WRITERS or kwargs.get("out") is not None:
        leave(f"{name_of(function)} is not traced")
    return each_plain_result(function(*plain(args), **plain(kwargs)))


def each_plain_result(result: Any) -> Any:
    """Results of a function of untracked arrays, writable again."""
    if type(result) in (list, tuple):
        return type(result)(each_plain_result(r) for r in result)
    return rewrap(result)
