"""Comparisons with a small number: an iteration may stop there, and a trace may let it go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.tracing.array import each, is_traced, tensor
from gradverify.tracing.tables import table
from gradverify.tracing.tape import SMALL, tape


def tightened(name: str, a: Any, b: Any, plain: Any) -> Any:
    """The plain result of a comparison, or that with less than the tolerance where the trace lets iterations go on.

    A tolerance is a small number, ``step < 1e-6``, or a small multiple of a traced one, ``step < 1e-6 * size``.
    """
    left, right = (tensor(x).detach() for x in (a, b))
    scalar = left.ndim == 0 and right.ndim == 0
    if is_traced(a) and is_traced(b):
        of_left, of_right = (tape().factor_of(tensor(x)) if scalar else 0.0 for x in (a, b))
    else:
        of_left, of_right = (0.0 if is_traced(x) or t.numel() != 1 else float(t) for x, t in ((a, left), (b, right)))
    bound = of_right or of_left
    if not 0 < bound <= SMALL:
        return plain
    by = tape().tolerance(bound, alone=scalar) / bound
    if by == 1.0:
        return plain
    sides = (left, right * by) if of_right else (left * by, right)
    return _noted(plain, np.asarray(getattr(np, name)(*(t.numpy() for t in sides)))[()])


def close(function: Any) -> Callable[..., Any]:
    """``isclose`` or ``allclose`` on the values."""

    def compare(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
        left, right = (each(lambda x: x.value, x) for x in (a, b))
        plain = function(left, right, rtol, atol, equal_nan)
        bound = max(float(rtol), float(atol))
        by = tape().tolerance(bound, alone=np.ndim(plain) == 0) / bound if 0 < bound <= SMALL else 1.0
        return plain if by == 1.0 else _noted(plain, function(left, right, rtol * by, atol * by, equal_nan))

    return compare


def _noted(plain: Any, tighter: Any) -> Any:
    if not np.array_equal(plain, tighter):
        tape().goes_on()
    return tighter


table({"isclose": close(np.isclose), "allclose": close(np.allclose)})
