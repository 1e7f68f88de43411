"""The tolerance at which a backward stops iterating, seen by handing it an upstream that watches comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.types import Array, Out, leaves, like

SMALL = 1e-3  #: what is compared with less decides when an iteration stops
COMPARISONS = frozenset(["less", "less_equal", "greater", "greater_equal"])


class Watching(np.ndarray):
    """An array that remembers the small numbers that it, and whatever is made from it, is compared with."""

    seen = 0.0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        plain = [_plain(x) for x in inputs]
        if out is not None:
            kwargs["out"] = tuple(_plain(x) for x in out)
        if "where" in kwargs:
            kwargs["where"] = _plain(kwargs["where"])
        if ufunc.__name__ in COMPARISONS:
            for x, other in zip(plain, reversed(inputs), strict=True):
                if isinstance(x, (float, np.floating)) and 0 < x <= SMALL and isinstance(other, Watching):
                    Watching.seen = max(Watching.seen, float(x))
        result = getattr(ufunc, method)(*plain, **kwargs)
        if out is not None:
            return out[0] if len(out) == 1 else out
        return tuple(map(_watching, result)) if isinstance(result, tuple) else _watching(result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _watching(super().__array_function__(func, types, args, kwargs))

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return _watching(array)


def _plain(x: Any) -> Any:
    return x.view(np.ndarray)[()] if isinstance(x, Watching) else x


def _watching(x: Any) -> Any:
    numbers = isinstance(x, (np.ndarray, np.floating)) and np.asarray(x).dtype.kind == "f"
    return np.asarray(x).view(Watching) if numbers else x


def tolerance_of(pull: Callable[[Out], Any], upstream: Out) -> float:
    """The largest small number that something made from the upstream is compared with; 0 where there is none."""
    Watching.seen = 0.0
    watching: dict[str, Array] = {k: np.array(v).view(Watching) for k, v in leaves(upstream).items()}
    with np.errstate(all="ignore"):
        try:
            pull(like(upstream, watching))
        except Exception:  # noqa: BLE001  (user code on an ndarray subclass may fail in any way: nothing is learned)
            return 0.0
    return Watching.seen
