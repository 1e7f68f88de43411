"""The tolerance at which an implementation stops iterating, seen on arrays that watch what they are compared with.

Where they compare with less the iteration goes on: what then moves was not known yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.sampling import quiet
from gradverify.stopping import SMALL, TIGHTER, Stops
from gradverify.types import Array, Case, Gradients, Out, differentiable, leaves, like

COMPARISONS = frozenset(["less", "less_equal", "greater", "greater_equal"])


class Watching(np.ndarray):
    """An array that sees the small numbers, or small multiples, that it and all that is made of it is compared with."""

    stops = Stops()
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


def _compared(ufunc: np.ufunc, inputs: tuple[Any, ...], given: list[Any], result: Any) -> Any:
    bounds = [float(x) if _small(x) else getattr(x, "factor", 0.0) for x in inputs]
    which = next((i for i, b in enumerate(bounds) if b > 0 and isinstance(inputs[1 - i], Watching)), None)
    if which is None:
        return result
    below = ufunc.__name__.startswith("less") == (which == 1)
    again: Any = lambda by: ufunc(*(x * by if i == which else x for i, x in enumerate(given)))  # noqa: E731 - asked once
    return Watching.stops.compared(result, bounds[which], again, below=below)


def _close(func: Any, a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    a, b = np.asarray(_plain(a)), np.asarray(_plain(b))
    plain, bound = func(a, b, rtol, atol, equal_nan), max(float(rtol), float(atol))
    if not 0 < bound <= SMALL:
        return plain
    return Watching.stops.compared(plain, bound, lambda by: func(a, b, rtol * by, atol * by, equal_nan))


def _plain(x: Any) -> Any:
    return x.view(np.ndarray)[()] if isinstance(x, Watching) else x


def _watching(x: Any) -> Any:
    numbers = isinstance(x, (np.ndarray, np.floating)) and np.asarray(x).dtype.kind == "f"
    return np.asarray(x).view(Watching) if numbers else x


def tolerance_of(pull: Callable[[Out], Any], upstream: Out, framework: str = "numpy") -> float:
    """The largest small number that something made from the upstream is compared with; 0 where there is none."""
    if framework == "torch":
        from gradverify._torch_stops import Stops as TorchStops

        watched = TorchStops()
        with quiet(), contextlib.suppress(Exception), watched:  # (as below)
            pull(upstream)
        return float(watched.tolerance)
    Watching.stops = Stops()
    watching: dict[str, Array] = {k: np.array(v).view(Watching) for k, v in leaves(upstream).items()}
    with quiet():
        try:
            pull(like(upstream, watching))
        except Exception:  # noqa: BLE001  (user code on an ndarray subclass may fail in any way: nothing is learned)
            return 0.0
    return Watching.stops.of_all


def going_on(gradients: Callable[[Case], Gradients], case: Case, framework: str = "numpy") -> Gradients | None:
    """The gradients where the implementation's iterations stop later; None where it could not be made to go on.

    gradients  (case) -> gradients of a fresh run there
    """
    if framework == "torch":
        from gradverify._torch_stops import Stops as TorchStops

        watched = TorchStops(TIGHTER)
        with quiet(), contextlib.suppress(Exception), watched:  # (as above)
            further = gradients(case)
            return further if watched.longer else None
        return None
    Watching.stops = stops = Stops(tighter=True)
    watching = {k: np.array(v).view(Watching) for k, v in case.primals.items() if differentiable(v)}
    with quiet():
        try:
            found = gradients(case.at(watching))
        except Exception:  # noqa: BLE001  (as above)
            return None
        finally:
            Watching.stops = Stops()
    return found if stops.longer else None
