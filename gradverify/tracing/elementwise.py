"""Ufuncs, one line each: name -> function of tensors. NumPy's and scipy.special's, which are ufuncs too."""

# ruff: noqa: D103, PLW0108 - named as their NumPy originals; the lambdas keep torch from being imported
from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.tables import UFUNCS
from gradverify.tracing.tape import tape, tracing
from gradverify.tracing.tolerances import tightened
from gradverify.types import Array


def jumps(name: str, x: Tensor, where: Tensor) -> None:
    """Record that a step function sits on its step at the entries ``where``."""
    if x.requires_grad and tracing() is not None and bool(where.any()):
        tape().kink(name + ": {n} on a step", x[where])


# kinks: who gets the gradient at a tie is the tape's convention


def ties(name: str, a: Tensor, b: Tensor) -> Tensor:
    """Entries with a == b, recorded as a kink."""
    tie = a.detach() == b.detach()
    if bool(tie.any()):
        tape().kink(name + ": {n} ties", torch.where(tie, a - b, torch.zeros_like(tie, dtype=a.dtype))[tie])
    return tie


def maximum(a: Tensor, b: Tensor, name: str = "maximum", sign: float = 1.0) -> Tensor:
    """max(a, b), or min for sign = -1; NaN in either gives NaN."""
    a, b = torch.broadcast_tensors(a, b)
    if tape().other_branch and a.requires_grad != b.requires_grad:
        return a if a.requires_grad else b
    tie = ties(name, a, b)
    convention = tape().ties
    first = (a > b) if sign > 0 else (a < b)
    if convention == "first":
        first = first | tie
    result = torch.where(first, a, b)
    if convention == "split":
        result = torch.where(tie, (a + b) / 2, result)
    elif convention == "zero":
        result = torch.where(tie, a.detach(), result)
    elif convention == "all":
        result = torch.where(tie & torch.isfinite(a), a + (b - b.detach()), result)
    nan = torch.isnan(a) | torch.isnan(b)
    return torch.where(nan, a + b, result) if bool(nan.any()) else result


def minimum(a: Tensor, b: Tensor) -> Tensor:
    return maximum(a, b, "minimum", -1.0)


def fmax(a: Tensor, b: Tensor) -> Tensor:
    a, b = torch.broadcast_tensors(a, b)
    return torch.where(torch.isnan(a), b, torch.where(torch.isnan(b), a, maximum(a, b, "fmax")))


def fmin(a: Tensor, b: Tensor) -> Tensor:
    a, b = torch.broadcast_tensors(a, b)
    return torch.where(torch.isnan(a), b, torch.where(torch.isnan(b), a, maximum(a, b, "fmin", -1.0)))


def absolute(x: Tensor) -> Tensor:
    """|x|, with abs'(0) = 1, -1, 0, 0 for ties first, second, and else."""
    zero = x.detach() == 0
    slope = torch.sign(x.detach())
    if bool(zero.any()):
        tape().kink("abs at 0: {n} entries", x[zero])
        slope = torch.where(zero, {"first": 1.0, "second": -1.0}.get(tape().ties, 0.0), slope)
    return x * slope


def clip(x: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    """minimum(maximum(x, low), high): ``x`` is the first operand of both."""
    if low is not None:
        x = maximum(x, low, "clip at its lower bound")
    return x if high is None else maximum(x, high, "clip at its upper bound", -1.0)


def sqrt(x: Tensor) -> Tensor:
    zero = x.detach() == 0
    if bool(zero.any()):
        tape().kink("sqrt at 0: {n} entries", x[zero], steep=True)
    return torch.sqrt(x)


def cbrt(x: Tensor) -> Tensor:
    """Its derivative at 0 is infinite."""
    return torch.sign(x.detach()) * torch.pow(absolute(x), 1 / 3)


def power(x: Tensor, y: Tensor) -> Tensor:
    if y.requires_grad:
        return torch.pow(x, y)
    if y.ndim == 0:
        exponent = float(y)
        if exponent < 2 and exponent != int(exponent) and bool((x.detach() == 0).any()):
            tape().kink("power at 0: {n} entries", x[x.detach() == 0], steep=True)
        return torch.pow(x, exponent)
    return torch.pow(x, y)


def copysign(x: Tensor, y: Tensor) -> Tensor:
    return absolute(x) * torch.where(torch.signbit(y.detach()), -1.0, 1.0)


def ldexp(x: Tensor, n: Tensor) -> Tensor:
    return x * torch.pow(2.0, n.detach())


def log_ndtr(x: Tensor) -> Tensor:
    return torch.special.log_ndtr(x)


def ndtr(x: Tensor) -> Tensor:
    return 0.5 * torch.special.erfc(-x / math.sqrt(2))


def arctan2(y: Tensor, x: Tensor) -> Tensor:
    return torch.atan2(y, x)


def sinc(x: Tensor) -> Tensor:
    return torch.sinc(x)


def nan_safe(x: Tensor, nan: float, posinf: float | None, neginf: float | None) -> Tensor:
    return torch.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


SMOOTH = [
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "square",
    "reciprocal",
    "arcsin",
    "arccos",
    "arctan",
    "arcsinh",
    "arccosh",
    "arctanh",
    "logaddexp",
    "logaddexp2",
    "hypot",
    "deg2rad",
    "rad2deg",
]

UFUNCS.update({
    **{name: (lambda *xs, name=name: getattr(torch, name)(*xs)) for name in SMOOTH},
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negative": lambda a: -a,
    "positive": lambda a: a.clone(),
    "conjugate": lambda a: a.clone(),
    "radians": lambda a: torch.deg2rad(a),
    "degrees": lambda a: torch.rad2deg(a),
    "remainder": lambda a, b: torch.remainder(a, b),
    "fmod": lambda a, b: torch.fmod(a, b),
    "power": power,
    "float_power": power,
    "arctan2": arctan2,
    "absolute": absolute,
    "fabs": absolute,
    "sqrt": sqrt,
    "cbrt": cbrt,
    "maximum": maximum,
    "minimum": minimum,
    "fmax": fmax,
    "fmin": fmin,
    "clip": clip,
    "copysign": copysign,
    "ldexp": ldexp,
    "matmul": lambda a, b: torch.matmul(a, b),
    "vecdot": lambda a, b: (a * b).sum(-1),
    "matvec": lambda a, b: torch.matmul(a, b[..., None])[..., 0],
    "vecmat": lambda a, b: torch.matmul(a[..., None, :], b)[..., 0, :],
    # scipy.special
    "expit": lambda a: torch.sigmoid(a),
    "log_expit": lambda a: torch.nn.functional.logsigmoid(a),
    "logit": lambda a: torch.logit(a),
    "erf": lambda a: torch.erf(a),
    "erfc": lambda a: torch.erfc(a),
    "erfinv": lambda a: torch.erfinv(a),
    "xlogy": lambda a, b: torch.xlogy(a, b),
    "xlog1py": lambda a, b: torch.special.xlog1py(a, b),
    "entr": lambda a: torch.special.entr(a),
    "ndtr": ndtr,
    "log_ndtr": log_ndtr,
    "gammaln": lambda a: torch.lgamma(a),
    "psi": lambda a: torch.digamma(a),
    "i0": lambda a: torch.i0(a),
    "exprel": lambda a: torch.where(a == 0, 1 + a / 2, torch.expm1(a) / torch.where(a == 0, 1.0, a)),
})  # fmt: skip

#: ufuncs of one tracked argument that are nodes: those with a derivative that someone can forget
NODES = frozenset({
    *SMOOTH, "power", "float_power", "absolute", "fabs", "sqrt", "cbrt", "maximum", "minimum", "fmax", "fmin", "clip",
    "expit", "log_expit", "logit", "erf", "erfc", "erfinv", "entr", "ndtr", "log_ndtr", "gammaln", "psi", "arctan2",
    "exprel", "divide", "xlogy",
}) - {"deg2rad", "rad2deg"}  # fmt: skip

#: piecewise constant: name -> entries (plain) that sit on a step
STEPS: dict[str, Any] = {
    "floor": lambda x: x == np.floor(x),
    "ceil": lambda x: x == np.floor(x),
    "trunc": lambda x: (x == np.trunc(x)) & (x != 0),
    "rint": lambda x: (x - np.floor(x)) == 0.5,
    "sign": lambda x: x == 0,
    "heaviside": lambda x, _: x == 0,
    "floor_divide": lambda x, y: x / y == np.floor(x / y),
}

COMPARISONS = {
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!=",
}  # fmt: skip

PLAIN = frozenset(["isnan", "isinf", "isfinite", "signbit", "logical_and", "logical_or", "logical_not", "logical_xor"])


def compared(name: str, a: Any, b: Any, plain: Array) -> Array:
    """The plain result of a comparison; exact equality is recorded, since the branch taken changes there."""
    from gradverify.tracing.array import is_traced, tensor

    if holds_numbers(a) and holds_numbers(b):
        left, right = torch.broadcast_tensors(tensor(a), tensor(b))
        plain = tightened(name, a, b, plain)
        tie = left.detach() == right.detach()
        if bool(tie.any()):
            other = b if is_traced(a) else a
            at = (
                f" compared at {float(other):g}"
                if isinstance(other, (int, float)) and not is_traced(other)
                else " compared at equality"
            )
            sign = COMPARISONS[name]
            gap = (left - right)[tie]
            tape().kink(f"x {sign} y{at}" + ": {n} entries", gap)
    return plain


def holds_numbers(x: Any) -> bool:
    """Can it be compared as real numbers? (``x == None`` and ``x == "mean"`` cannot.)"""
    from gradverify.tracing.array import is_traced

    return is_traced(x) or np.asarray(x).dtype.kind in "fiub"
