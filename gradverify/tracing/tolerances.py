"""Comparisons with a small number: an iteration may stop there, and a trace may let it go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.stopping import SMALL
from gradverify.tracing.array import each, is_traced, tensor
from gradverify.tracing.tables import table
from gradverify.tracing.tape import tape


def tightened(name: str, a: Any, b: Any, plain: Any) -> Any:
    """The plain result of a comparison, or that with less than the tolerance where the trace lets iterations go on.

    A tolerance is a small number, ``step < 1e-6``, or a small multiple of a traced one, ``step < 1e-6 * size``.
    """
    if name not in ("less", "less_equal", "greater", "greater_equal"):
        return plain
    left, right = (tensor(x).detach() for x in (a, b))
    for values, other, number in ((a, b, right), (b, a, left)):
        if is_traced(values) and not is_traced(other) and number.numel() == 1:
            tape().note_sides(tensor(values), float(number), plain)
    if is_traced(a) and is_traced(b):
        scalar = left.ndim == 0 and right.ndim == 0
        of_left, of_right = (tape().factor_of(tensor(x)) if scalar else 0.0 for x in (a, b))
    else:
        of_left, of_right = (0.0 if is_traced(x) or t.numel() != 1 else float(t) for x, t in ((a, left), (b, right)))
    bound = of_right or of_left
    if not 0 < bound <= SMALL:
        return plain

    def again(by: float) -> Any:
        sides = (left, right * by) if of_right else (left * by, right)
        return np.asarray(getattr(np, name)(*(t.numpy() for t in sides)))[()]

    return tape().stops.compared(plain, bound, again, below=name.startswith("less") == bool(of_right))


def close(function: Any) -> Callable[..., Any]:
    """``isclose`` or ``allclose`` on the values."""

    def compare(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
        left, right = (each(lambda x: x.value, x) for x in (a, b))
        plain, bound = function(left, right, rtol, atol, equal_nan), max(float(rtol), float(atol))
        if not 0 < bound <= SMALL:
            return plain
        return tape().stops.compared(
            plain, bound, lambda by: function(left, right, rtol * by, atol * by, equal_nan)
        )  # fmt: skip

    return compare


table({"isclose": close(np.isclose), "allclose": close(np.allclose)})
