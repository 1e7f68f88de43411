"""Functions that are compositions: written in NumPy's own words, and traced through them."""

# ruff: noqa: D103, PLW0108 - functions with NumPy's own names and signatures, not all of whose options have a meaning here
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.tracing.array import array, dtype_of, is_traced, leave, tensor, wrap
from gradverify.tracing.bend import node
from gradverify.tracing.elementwise import clip as clip_tensors
from gradverify.tracing.lazy import torch
from gradverify.tracing.tables import implements, table

NOTHING: Any = getattr(np, "_NoValue", None)


@implements("clip")
def clip(a: Any, a_min: Any = NOTHING, a_max: Any = NOTHING, *, min: Any = NOTHING, max: Any = NOTHING,
         **_: Any) -> Any:  # fmt: skip
    """The bounds may be traced too."""
    low, high = (
        next((b for b in pair if b is not NOTHING and b is not None), None) for pair in ((a_min, min), (a_max, max))
    )
    x, lower, upper = (None if v is None else tensor(v) for v in (a, low, high))
    y = clip_tensors(x, lower, upper)
    return wrap(node("clip", x, y, lambda v: clip_tensors(v, lower, upper)), dtype_of(a, low, high))


@implements("nan_to_num")
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    if not copy:
        leave("np.nan_to_num with copy=False")
    limits = np.finfo(float)
    values = array(x).value
    filled = np.where(np.isnan(values), nan, 0.0)
    filled = np.where(np.isposinf(values), limits.max if posinf is None else posinf, filled)
    filled = np.where(np.isneginf(values), limits.min if neginf is None else neginf, filled)
    return wrap(torch.where(torch.from_numpy(np.isfinite(values)), tensor(x), tensor(filled)), dtype_of(x))


@implements("diff")
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = NOTHING, append: Any = NOTHING) -> Any:
    parts: list[Any] = [array(a)]
    shape = [1 if k == axis % np.ndim(a) else s for k, s in enumerate(np.shape(a))]
    if prepend is not NOTHING:
        parts.insert(0, array(prepend) if np.ndim(prepend) else np.broadcast_to(array(prepend), shape))
    if append is not NOTHING:
        parts.append(array(append) if np.ndim(append) else np.broadcast_to(array(append), shape))
    t = tensor(np.concatenate(parts, axis=axis))
    return wrap(torch.diff(t, n=n, dim=axis), dtype_of(a))


@implements("ediff1d")
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    flat = np.ravel(ary)
    parts = [to_begin, flat[1:] - flat[:-1], to_end]
    return np.concatenate([np.ravel(p) for p in parts if p is not None])


@implements("trapezoid", "trapz")
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    y = np.moveaxis(array(y), axis, -1)
    if x is not None:
        dx = np.diff(x) if np.ndim(x) == 1 else np.diff(np.moveaxis(array(x), axis, -1), axis=-1)
    return np.sum(dx * (y[..., 1:] + y[..., :-1]) / 2, axis=-1)


@implements("convolve")
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """As a sum of shifted copies."""
    if np.size(v) > np.size(a):
        a, v = v, a
    a, v = array(a), array(v)
    n, m = a.size, v.size
    full = np.sum(np.stack([np.pad(a * v[k], (k, m - 1 - k)) for k in range(m)]), axis=0)
    start = {"full": 0, "same": (m - 1) // 2, "valid": m - 1}[mode]
    return full[start : start + {"full": n + m - 1, "same": n, "valid": n - m + 1}[mode]]


@implements("correlate")
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    if np.size(v) > np.size(a):
        return np.flip(correlate(v, a, mode))
    return convolve(a, np.flip(v), mode)


@implements("cov")
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, **options: Any) -> Any:
    if any(v is not None for v in options.values()):
        leave("np.cov with weights")
    x = np.atleast_2d(array(m))
    x = x if rowvar or x.shape[0] == 1 else x.T
    if y is not None:
        other = np.atleast_2d(array(y))
        x = np.concatenate([x, other if rowvar or other.shape[0] == 1 else other.T])
    centred = x - np.mean(x, axis=1, keepdims=True)
    return np.squeeze(centred @ centred.T / (x.shape[1] - ((0 if bias else 1) if ddof is None else ddof)))


@implements("corrcoef")
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, **_: Any) -> Any:
    c = cov(x, y, rowvar)
    if not c.shape:
        return c / c
    d = np.sqrt(np.diag(c))
    return c / d[:, None] / d[None, :]


@implements("polyval")
def polyval(p: Any, x: Any) -> Any:
    y: Any = 0.0
    for c in p:
        y = y * x + c
    return y


@implements("vander")
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    powers = range(np.size(x) if N is None else N)
    columns = [x**k if k else np.ones(np.shape(x)) for k in powers]
    return np.stack(columns if increasing else columns[::-1], axis=-1)


@implements("piecewise")
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Each function on its own entries only."""
    x = array(x)
    conditions = (
        [np.array(c, dtype=bool) for c in condlist]
        if np.ndim(condlist[0]) or not x.ndim
        else [np.array(condlist, dtype=bool)]
    )
    if len(funclist) == len(conditions) + 1:
        conditions.append(~np.any(conditions, axis=0))
    y = np.zeros_like(x)
    for condition, f in zip(conditions, funclist, strict=True):
        y[condition] = f(x[condition], *args, **kw) if callable(f) else f
    return y


@implements("apply_along_axis")
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    rows = np.moveaxis(array(arr), axis, -1)
    results = [func1d(rows[i], *args, **kwargs) for i in np.ndindex(*rows.shape[:-1])]
    together = together_of(results)
    shape = np.shape(together)[1:]
    full = np.reshape(together, (*rows.shape[:-1], *shape))
    return np.moveaxis(full, -1, axis) if len(shape) == 1 else full


def together_of(results: list[Any]) -> Any:
    """Stacked, traced only if one of them is."""
    return np.stack([array(r) for r in results]) if any(map(is_traced, results)) else np.array(results)


@implements("interp")
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Piecewise linear; the knots may be traced."""
    if period is not None:
        leave("np.interp with period=")
    x, xp, fp = array(x), array(xp), array(fp)
    k = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, xp.size - 2)
    slope = (fp[k + 1] - fp[k]) / (xp[k + 1] - xp[k])
    inside = fp[k] + slope * (x - xp[k])
    low = np.where(x < xp[0], fp[0] if left is None else left, inside)
    return np.where(x > xp[-1], fp[-1] if right is None else right, low)


@implements("sinc")
def sinc(x: Any) -> Any:
    t = tensor(x)
    return wrap(node("sinc", t, torch.sinc(t), lambda v: torch.sinc(v)), dtype_of(x))


@implements("i0")
def i0(x: Any) -> Any:
    t = tensor(x)
    return wrap(node("i0", t, torch.i0(t), lambda v: torch.i0(v)), dtype_of(x))


@implements("result_type", "common_type")
def result_type(*operands: Any) -> Any:
    return np.result_type(*(x.dtype if is_traced(x) else x for x in operands))


@implements("gradient")
def gradient(f: Any, *spacing: Any, axis: Any = None, edge_order: int = 1) -> Any:
    return leave("np.gradient is not traced")


table({
    "copy": lambda a, order="K", subok=False: wrap(tensor(a), dtype_of(a), scalar=False),
    "fix": lambda x: np.trunc(x),
    "imag": lambda val: np.zeros(np.shape(val)),
    "angle": lambda z, deg=False: leave("np.angle is not traced"),
    "cumulative_sum": lambda x, /, *, axis=None, dtype=None, include_initial=False: np.cumsum(x, axis)
    if not include_initial else leave("np.cumulative_sum with include_initial=True"),
    "cumulative_prod": lambda x, /, *, axis=None, dtype=None, include_initial=False: np.cumprod(x, axis)
    if not include_initial else leave("np.cumulative_prod with include_initial=True"),
})  # fmt: skip
