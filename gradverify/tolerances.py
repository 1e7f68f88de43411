"""The tolerance at which an implementation stops iterating, seen on arrays that watch what they are compared with.

With ``by`` below 1 the comparison is made with less, so that the iteration goes on: what then moves was not known yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.sampling import quiet
from gradverify.types import Array, Case, Gradients, Out, differentiable, leaves, like

SMALL = 1e-3  #: what is compared with less decides when an iteration stops
TIGHTER = 1e-4  #: of the tolerance of an iteration, where it is to go on
LONGER = 64  #: iterations that a tighter tolerance may cost
COMPARISONS = frozenset(["less", "less_equal", "greater", "greater_equal"])


class Watching(np.ndarray):
    """An array that sees the small numbers, or small multiples, that it and all that is made of it is compared with."""

    by = 1.0
    seen = 0.0
    longer = 0  #: comparisons that came out otherwise
    factor = 0.0  #: the 1e-6 of ``1e-6 * x``

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        given = [_plain(x) for x in inputs]
        if out is not None:
            kwargs["out"] = tuple(_plain(x) for x in out)
        if "where" in kwargs:
            kwargs["where"] = _plain(kwargs["where"])
        result = getattr(ufunc, method)(*given, **kwargs)
        if out is not None:
            return out[0] if len(out) == 1 else out
        if ufunc.__name__ in COMPARISONS and method == "__call__":
            return _compared(ufunc, inputs, given, result)
        result = tuple(map(_watching, result)) if isinstance(result, tuple) else _watching(result)
        if ufunc.__name__ == "multiply" and isinstance(result, Watching) and result.ndim == 0:
            result.factor = max((float(x) for x in inputs if _small(x)), default=0.0)
        return result

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in (np.allclose, np.isclose):
            return _close(func, *args, **kwargs)
        return _watching(super().__array_function__(func, types, args, kwargs))


def _small(x: Any) -> bool:
    return isinstance(x, (float, np.floating)) and bool(0 < x <= SMALL)


def _met(bound: float) -> float:
    """Remember a tolerance; what to multiply it with."""
    Watching.seen = max(Watching.seen, bound)
    return Watching.by if Watching.longer < LONGER else 1.0


def _noted(plain: Any, other: Any) -> Any:
    Watching.longer += not np.array_equal(plain, other)
    return other


def _compared(ufunc: np.ufunc, inputs: tuple[Any, ...], given: list[Any], result: Any) -> Any:
    bounds = [float(x) if _small(x) else getattr(x, "factor", 0.0) for x in inputs]
    which = next((i for i, b in enumerate(bounds) if b > 0 and isinstance(inputs[1 - i], Watching)), None)
    if which is None:
        return result
    by = _met(bounds[which])
    return result if by == 1.0 else _noted(result, ufunc(*(x * by if i == which else x for i, x in enumerate(given))))


def _close(func: Any, a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    a, b = np.asarray(_plain(a)), np.asarray(_plain(b))
    plain, bound = func(a, b, rtol, atol, equal_nan), max(float(rtol), float(atol))
    by = _met(bound) if 0 < bound <= SMALL else 1.0
    return plain if by == 1.0 else _noted(plain, func(a, b, rtol * by, atol * by, equal_nan))


def _plain(x: Any) -> Any:
    return x.view(np.ndarray)[()] if isinstance(x, Watching) else x


def _watching(x: Any) -> Any:
    numbers = isinstance(x, (np.ndarray, np.floating)) and np.asarray(x).dtype.kind == "f"
    return np.asarray(x).view(Watching) if numbers else x


def tolerance_of(pull: Callable[[Out], Any], upstream: Out, framework: str = "numpy") -> float:
    """The largest small number that something made from the upstream is compared with; 0 where there is none."""
    if framework == "torch":
        from gradverify._torch_stops import Stops

        watched = Stops()
        with quiet(), contextlib.suppress(Exception), watched:  # (as below)
            pull(upstream)
        return float(watched.tolerance)
    Watching.seen, Watching.by, Watching.longer = 0.0, 1.0, 0
    watching: dict[str, Array] = {k: np.array(v).view(Watching) for k, v in leaves(upstream).items()}
    with quiet():
        try:
            pull(like(upstream, watching))
        except Exception:  # noqa: BLE001  (user code on an ndarray subclass may fail in any way: nothing is learned)
            return 0.0
    return Watching.seen


def going_on(gradients: Callable[[Case], Gradients], case: Case, framework: str = "numpy") -> Gradients | None:
    """The gradients where the implementation's iterations stop later; None where it could not be made to go on.

    gradients  (case) -> gradients of a fresh run there
    """
    if framework == "torch":
        from gradverify._torch_stops import Stops

        watched = Stops(TIGHTER)
        with quiet(), contextlib.suppress(Exception), watched:  # (as above)
            further = gradients(case)
            return further if watched.longer else None
        return None
    Watching.seen, Watching.by, Watching.longer = 0.0, TIGHTER, 0
    watching = {k: np.array(v).view(Watching) for k, v in case.primals.items() if differentiable(v)}
    with quiet():
        try:
            found = gradients(case.at(watching))
        except Exception:  # noqa: BLE001  (as above)
            return None
        finally:
            Watching.by = 1.0
    return found if Watching.longer else None
