"""The tables that the families fill: NumPy function or ufunc -> how it is traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

UFUNCS: dict[str, Callable[..., Any]] = {}  #: name of a ufunc -> function of tensors
UFUNC_METHODS: dict[str, Callable[..., Any]] = {}  #: "reduce", "at", ... -> function of (ufunc, inputs, kwargs)
FUNCTIONS: dict[Any, Callable[..., Any]] = {}  #: the NumPy function itself -> function with its signature


def numpy_function(path: str) -> Any:
    """``"linalg.norm"`` -> np.linalg.norm, or None where this NumPy has none."""
    found: Any = np
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def implements(*paths: str) -> Callable[[F], F]:
    """Register a function for NumPy functions, by name; a name that this NumPy lacks is passed over."""

    def register(function: F) -> F:
        for path in paths:
            target = numpy_function(path)
            if target is not None:
                FUNCTIONS[target] = function
        return function

    return register


def table(entries: dict[str, Callable[..., Any]]) -> None:
    """Register a whole table at once: name of a NumPy function -> function with its signature."""
    for path, function in entries.items():
        implements(path)(function)
