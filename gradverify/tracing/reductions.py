"""Sums, means, extrema, norms, cumulative sums: the reduced axes are folded into the last one, then one line each."""

# ruff: noqa: D103 - functions with NumPy's own names and signatures, not all of whose options have a meaning here
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from gradverify.tracing.array import TracedArray, array, dtype_of, each, is_traced, leave, tensor, wrap
from gradverify.tracing.bend import node
from gradverify.tracing.elementwise import absolute, jumps, sqrt
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.patterns import remember_max, remember_sum
from gradverify.tracing.tables import UFUNC_METHODS, implements, table
from gradverify.tracing.tape import tape

NOTHING: Any = getattr(np, "_NoValue", None)


def fold(t: Tensor, axis: Any) -> tuple[Tensor, tuple[int, ...]]:
    """(t with the reduced axes flattened into the last, the axes). ``None``: all of them."""
    axes = tuple(range(t.ndim)) if axis is None else normalize_axis_tuple(axis, t.ndim)
    kept = [k for k in range(t.ndim) if k not in axes]
    if not axes:
        return t[..., None], axes
    return t.permute(*kept, *axes).reshape([t.shape[k] for k in kept] + [-1 if t.numel() else 0]), axes


def unfold(t: Tensor, axes: tuple[int, ...], keepdims: Any) -> Tensor:
    """Put axes of length 1 back where ``keepdims`` asks for them."""
    if keepdims and keepdims is not NOTHING:
        for k in sorted(axes):
            t = t.unsqueeze(k)
    return t


def reduction(name: str, last: Callable[..., Tensor], identity: float | None = None) -> Callable[..., Any]:
    """A NumPy reduction from ``last``, which reduces the last axis (given also the NumPy options that it has)."""

    def reduce(
        a: Any, axis: Any = None, dtype: Any = None, out: None = None, *, keepdims: Any = False,
        initial: Any = NOTHING, where: Any = True, **options: Any,
    ) -> Any:  # fmt: skip
        if out is not None:
            leave(f"np.{name} with a positional out")
        t = tensor(a)
        if where is not True and where is not NOTHING:
            mask = torch.from_numpy(np.array(where, dtype=bool))
            if identity is None:
                leave(f"np.{name} with where=")
            t = torch.where(mask, t, identity)
        if initial is not NOTHING and initial is not None:
            if identity is None:
                leave(f"np.{name} with initial=")
            combine = {"sum": torch.add, "prod": torch.mul}.get(name)
        folded, axes = fold(t, axis)
        if folded.shape[-1] == 0 and identity is None and name in ("max", "min"):
            raise ValueError(f"zero-size array to reduction operation {name} which has no identity")
        y = last(folded, **options)
        if initial is not NOTHING and initial is not None:
            y = combine(y, tensor(initial)) if combine else y
        if name != "sum":
            y = node(name, folded, y)
        y = unfold(y, axes, keepdims)
        if name == "sum":
            remember_sum(t, y)
        if name == "max":
            remember_max(t, y)
        result_dtype = dtype_of(*([a] if is_traced(a) else [])) if dtype is None else np.dtype(dtype)
        if result_dtype.kind != "f":
            leave(f"np.{name} with dtype={result_dtype.name}")
        return wrap(y, result_dtype)

    return reduce


def extremum(sign: float, name: str) -> Callable[[Tensor], Tensor]:
    """Max (sign 1) or min (sign -1) over the last axis, the gradient at ties as the tape's convention says."""

    def last(x: Tensor) -> Tensor:
        values = x.detach() * sign
        best = values.amax(-1, keepdim=True)
        at = values == best
        if bool(torch.isnan(best).any()):
            return (x * sign).amax(-1) * sign
        many = at.sum(-1) > 1
        index = at.to(torch.int8).argmax(-1, keepdim=True)
        if not bool(many.any()):
            return x.gather(-1, index)[..., 0]
        other = at.shape[-1] - 1 - at.flip(-1).to(torch.int8).argmax(-1, keepdim=True)
        gap = (x - x.gather(-1, index))[at & many[..., None]]
        tape().kink(name + " over axis: {n} entries tied", gap)
        convention = tape().ties
        if convention in ("first", "second"):
            return x.gather(-1, index if convention == "first" else other)[..., 0]
        first = x.gather(-1, index)[..., 0]
        if convention == "zero":
            return torch.where(many, first.detach(), first)
        if convention == "all":
            whole = torch.where(at & torch.isfinite(x), x - x.detach(), 0.0)
            return torch.where(many, first.detach() + whole.sum(-1), first)
        shares = torch.where(at, x, 0.0).sum(-1) / at.sum(-1)
        return torch.where(many, shares, first)

    return last


def product(x: Tensor) -> Tensor:
    return torch.prod(x, -1)


def variance(x: Tensor, ddof: Any = 0, correction: Any = NOTHING, mean: Any = NOTHING) -> Tensor:
    """Mean square deviation; ``mean=`` is what the user already has, so it is used as it is."""
    if correction is not NOTHING:
        ddof = correction
    if mean is not NOTHING and mean is not None:
        leave("np.var or np.std with mean=")
    centred = x - x.mean(-1, keepdim=True)
    return (centred * centred).sum(-1) / (x.shape[-1] - ddof)


def nanless(reduce: Callable[..., Any], fill: float) -> Callable[..., Any]:
    """The nan-version of a reduction: NaNs are replaced by ``fill``, outside of the graph."""

    def reduced(a: Any, axis: Any = None, **options: Any) -> Any:
        t = tensor(a)
        return reduce(wrap(torch.where(torch.isnan(t), fill, t), dtype_of(a)), axis, **options)

    return reduced


def nanmean(a: Any, axis: Any = None, **options: Any) -> Any:
    t = tensor(a)
    nan = torch.isnan(t)
    keepdims = options.get("keepdims", False)
    total = total_of(wrap(torch.where(nan, 0.0, t), dtype_of(a)), axis, **options)
    return total / np.sum(~nan.numpy(), axis=axis, keepdims=bool(keepdims) and keepdims is not NOTHING)


total_of = reduction("sum", lambda x: x.sum(-1), 0.0)
mean_of = reduction("mean", lambda x: x.mean(-1), None)
max_of = reduction("max", extremum(1.0, "max"), None)
min_of = reduction("min", extremum(-1.0, "min"), None)
var_of = reduction("var", variance)
std_of = reduction("std", lambda x, **o: sqrt(variance(x, **o)))
prod_of = reduction("prod", product, 1.0)
logsumexp_of = reduction("logsumexp", lambda x: torch.logsumexp(x, -1))


def bounded(a: Any, axis: Any = None, initial: Any = NOTHING, where: Any = True, keepdims: Any = False, *,
            reduce: Any, pair: Any, fill: float) -> Any:  # fmt: skip
    """Max and min with ``initial`` and ``where``."""
    if where is not True and where is not NOTHING:
        a = np.where(where, array(a), fill)
    result = reduce(array(a), axis, keepdims=keepdims)
    return result if initial is NOTHING or initial is None else pair(result, initial)


def bounded_max(a: Any, axis: Any = None, **options: Any) -> Any:
    return bounded(a, axis, reduce=max_of, pair=np.maximum, fill=-np.inf, **options)


def bounded_min(a: Any, axis: Any = None, **options: Any) -> Any:
    return bounded(a, axis, reduce=min_of, pair=np.minimum, fill=np.inf, **options)


def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False) -> Any:
    if weights is None:
        weights = np.ones(np.shape(a))
    elif np.shape(weights) != np.shape(a):
        ax = normalize_axis_tuple(axis, np.ndim(a))[0]
        weights = np.reshape(weights, [-1 if k == ax else 1 for k in range(np.ndim(a))]) * np.ones(np.shape(a))
    total = np.sum(weights, axis=axis, keepdims=bool(keepdims))
    result = np.sum(a * weights, axis=axis, keepdims=bool(keepdims)) / total
    return (result, total * np.ones(np.shape(result))) if returned else result


def cumulative(f: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """Cumsum and cumprod from a function of the last axis."""

    def accumulate(a: Any, axis: Any = None, dtype: Any = None) -> Any:
        t = tensor(a)
        t, axis = (t.reshape(-1), 0) if axis is None else (t, axis)
        return wrap(f(t.movedim(axis, -1)).movedim(-1, axis), np.dtype(dtype) if dtype is not None else dtype_of(a))

    return accumulate


cumsum = cumulative(lambda x: x.cumsum(-1))
cumprod = cumulative(lambda x: x.cumprod(-1))


def running(sign: float) -> Callable[..., Any]:
    """np.maximum.accumulate (sign 1) or np.minimum.accumulate."""

    def accumulate(a: Any, axis: int = 0, dtype: Any = None) -> Any:
        ufunc = np.maximum if sign > 0 else np.minimum
        steps = list(np.moveaxis(array(a), axis, 0))
        for k in range(1, len(steps)):
            steps[k] = ufunc(steps[k - 1], steps[k])
        return np.stack(steps, axis)

    return accumulate


# a sorted copy and what is read off it


def order_of(a: TracedArray, axis: int) -> Any:
    """The stable argsort; equal neighbours are a kink."""
    values = a.value
    order = np.argsort(values, axis=axis, kind="stable")
    ranked = np.take_along_axis(values, order, axis)
    tie = np.diff(ranked, axis=axis) == 0
    if tie.any():
        moved = tensor(np.take_along_axis(a, order, axis)).movedim(axis, -1)
        at = torch.from_numpy(np.moveaxis(tie, axis, -1).copy())
        tape().kink("sort: {n} ties", (moved[..., 1:] - moved[..., :-1])[at])
    return order


def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    a = np.ravel(a) if axis is None else a
    axis = -1 if axis is None else axis
    return np.take_along_axis(a, order_of(array(a), axis), axis)


def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """The order of NumPy's own partition, kept."""
    if axis is None:
        a, axis = np.ravel(a), -1
    return np.take_along_axis(a, np.argpartition(array(a).value, kth, axis), axis)


def quantile(a: Any, q: Any, axis: Any = None, overwrite_input: bool = False, method: str = "linear",
             keepdims: Any = False, **options: Any) -> Any:  # fmt: skip
    """The linear method: between two neighbours of the sorted values."""
    if method != "linear" or options or is_traced(q):
        leave("np.quantile other than method='linear'")
    t, axes = fold(tensor(a), axis)
    ranked = tensor(sort(wrap(t, dtype_of(a)), -1))
    results = []
    for one in np.ravel(q):
        place = float(one) * (t.shape[-1] - 1)
        low = int(np.floor(place))
        high = min(low + 1, t.shape[-1] - 1)
        value = (
            ranked[..., low]
            if place == low
            else ranked[..., low] * (1 - place + low) + ranked[..., high] * (place - low)
        )
        results.append(unfold(value, axes, keepdims))
    return wrap(torch.stack(results).reshape(np.shape(q) + results[0].shape), dtype_of(a))


def median(a: Any, axis: Any = None, overwrite_input: bool = False, keepdims: Any = False) -> Any:
    return quantile(a, 0.5, axis, keepdims=keepdims)


def percentile(a: Any, q: Any, axis: Any = None, **options: Any) -> Any:
    return quantile(a, np.asarray(q) / 100, axis, **options)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    """np.linalg.norm; the 2-norm at 0 is a kink with a NaN gradient."""
    t = tensor(x)
    if axis is None and (ord is None or t.ndim == 1):
        matrix = False
    else:
        axis = tuple(range(t.ndim)) if axis is None else axis
        matrix = isinstance(axis, tuple) and len(axis) == 2 and ord not in (None, "fro", "f")
    if matrix:
        folded = t.movedim(normalize_axis_tuple(axis, t.ndim), (-2, -1))
        axes = normalize_axis_tuple(axis, t.ndim)
        if ord in (1, -1, np.inf, -np.inf):
            sums = absolute(folded).sum(-2 if abs(ord) == 1 else -1)
            y = extremum(1.0 if ord > 0 else -1.0, "norm")(sums)
        else:
            s = torch.linalg.svdvals(folded)
            y = {"nuc": lambda: s.sum(-1), 2: lambda: s.amax(-1), -2: lambda: s.amin(-1)}[ord]()
    else:
        folded, axes = fold(t, axis)
        y = vector_norm_of(folded, 2 if ord in (None, "fro", "f") else ord)
    return wrap(unfold(node("norm", folded, y), axes, keepdims), dtype_of(x))


def vector_norm_of(x: Tensor, ord: Any) -> Tensor:
    """Over the last axis."""
    if ord == 2:
        return sqrt((x * x).sum(-1))
    if ord == 0:
        return tensor((x.detach() != 0).sum(-1).numpy())
    if ord == 1:
        return absolute(x).sum(-1)
    if ord in (np.inf, -np.inf):
        return extremum(1.0 if ord > 0 else -1.0, "norm")(absolute(x))
    return torch.pow(torch.pow(absolute(x), ord).sum(-1), 1 / ord)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    t, axes = fold(tensor(x), axis)
    return wrap(unfold(node("norm", t, vector_norm_of(t, ord)), axes, keepdims), dtype_of(x))


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return norm(x, ord, (-2, -1), keepdims)


table({
    "sum": total_of, "mean": mean_of, "var": var_of, "std": std_of, "prod": prod_of,
    "max": bounded_max, "amax": bounded_max, "min": bounded_min, "amin": bounded_min,
    "ptp": lambda a, axis=None, keepdims=False: max_of(a, axis, keepdims=keepdims) - min_of(a, axis, keepdims=keepdims),
    "nansum": nanless(total_of, 0.0), "nanprod": nanless(prod_of, 1.0), "nanmean": nanmean,
    "nanmax": nanless(max_of, -np.inf), "nanmin": nanless(min_of, np.inf),
    "average": average, "cumsum": cumsum, "cumprod": cumprod,
    "sort": sort, "partition": partition, "median": median, "quantile": quantile, "percentile": percentile,
    "linalg.norm": norm, "linalg.vector_norm": vector_norm, "linalg.matrix_norm": matrix_norm,
})  # fmt: skip


def choosing(function: Any, name: str) -> Callable[..., Any]:
    """Argmax and argmin: plain integers; a tie is a kink of whatever is chosen with them."""

    def chosen(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
        values = array(a).value
        keep = bool(keepdims) and keepdims is not NOTHING
        best = (np.max if name == "argmax" else np.min)(values, axis=axis, keepdims=True)
        tie = np.broadcast_to((values == best) & ((values == best).sum(axis=axis, keepdims=True) > 1), values.shape)
        if tie.any():
            jump_gap(name, array(a), tie, function(values, axis=axis, keepdims=True), axis)
        return function(values, axis=axis, keepdims=keep)

    return chosen


def jump_gap(name: str, a: TracedArray, tie: Any, index: Any, axis: Any) -> None:
    """Record the tie by the difference of the tied entries and the chosen one."""
    t = tensor(a)
    best = (
        t.reshape(-1)[int(np.ravel(index)[0])]
        if axis is None
        else torch.take_along_dim(t, torch.from_numpy(np.array(index)), dim=axis)
    )
    tape().kink(name + ": {n} entries tied", (t - best)[torch.from_numpy(np.array(tie))])


table({"argmax": choosing(np.argmax, "argmax"), "argmin": choosing(np.argmin, "argmin")})

#: functions with plain results, that NumPy itself computes on the values
PLAIN_FUNCTIONS = """argsort argpartition nonzero flatnonzero argwhere count_nonzero searchsorted digitize array_equal
array_equiv any all isin shape ndim size iscomplexobj isrealobj isneginf isposinf array_repr
array_str array2string isreal iscomplex lexsort nanargmax nanargmin"""


def plainly(function: Any) -> Callable[..., Any]:
    """The NumPy function on plain copies of the values."""
    return lambda *args, **kwargs: function(*each(value_of, args), **each(value_of, kwargs))


def value_of(a: TracedArray) -> Any:
    return a.value


for _name in PLAIN_FUNCTIONS.split():
    if hasattr(np, _name):
        table({_name: plainly(getattr(np, _name))})


@implements("round", "around")
def rounded(a: Any, decimals: int = 0) -> Any:
    """Piecewise constant."""
    values = array(a).value
    scaled = values * 10.0**decimals
    jumps("round", tensor(a), torch.from_numpy(np.array((scaled - np.floor(scaled)) == 0.5)))
    return wrap(tensor(np.round(values, decimals)), dtype_of(a))


# methods of ufuncs

REDUCE: dict[str, Callable[..., Any]] = {
    "add": total_of, "multiply": prod_of, "maximum": bounded_max, "minimum": bounded_min, "logaddexp": logsumexp_of,
    "fmax": bounded_max, "fmin": bounded_min,
}  # fmt: skip
ACCUMULATE: dict[str, Callable[..., Any]] = {
    "add": cumsum, "multiply": cumprod, "maximum": running(1.0), "minimum": running(-1.0),
}  # fmt: skip


def ufunc_reduce(ufunc: Any, inputs: Any, kwargs: dict[str, Any]) -> Any:
    (a,) = inputs[:1]
    axis = inputs[1] if len(inputs) > 1 else kwargs.pop("axis", 0)
    kwargs = {k: v for k, v in kwargs.items() if k != "axis"}
    if ufunc.__name__ in ("logical_and", "logical_or", "logical_xor"):
        return ufunc.reduce(array(a).value, axis=axis, **kwargs)
    if ufunc.__name__ not in REDUCE:
        leave(f"np.{ufunc.__name__}.reduce is not traced")
    return REDUCE[ufunc.__name__](a, axis, **kwargs)


def ufunc_accumulate(ufunc: Any, inputs: Any, kwargs: dict[str, Any]) -> Any:
    if ufunc.__name__ not in ACCUMULATE:
        leave(f"np.{ufunc.__name__}.accumulate is not traced")
    axis = inputs[1] if len(inputs) > 1 else kwargs.get("axis", 0)
    return ACCUMULATE[ufunc.__name__](inputs[0], axis)


def ufunc_outer(ufunc: Any, inputs: Any, kwargs: dict[str, Any]) -> Any:
    a, b = inputs
    return ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b, **kwargs)


def ufunc_reduceat(ufunc: Any, inputs: Any, kwargs: dict[str, Any]) -> Any:
    a, starts = inputs[:2]
    axis = inputs[2] if len(inputs) > 2 else kwargs.get("axis", 0)
    rows = np.moveaxis(array(a), axis, 0)
    stops = [*list(starts)[1:], len(rows)]
    parts = [ufunc.reduce(rows[i:j], axis=0) if i < j else rows[i] for i, j in zip(list(starts), stops, strict=True)]
    return np.stack(parts, axis)


UFUNC_METHODS.update(reduce=ufunc_reduce, accumulate=ufunc_accumulate, outer=ufunc_outer, reduceat=ufunc_reduceat)
