"""Traced arrays that outlived their trace: code that keeps state is handed them again by its own self.

Once no trace is active there is nothing left to record. They are then worth their numbers, so that the code goes on as
if its forward had been given plain arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.tracing.array import TracedArray, each
from gradverify.tracing.lazy import torch
from gradverify.types import Array


def called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``function`` on plain copies; what it wrote into a copy is written back, and where that is the result, too."""
    kept: list[tuple[TracedArray, Array, Array]] = []

    def plain(a: TracedArray) -> Any:
        value = a.value.astype(a.dtype)
        if a.ndim == 0:
            return value[()]
        kept.append((a, value, value.copy()))
        return value

    result = function(*each(plain, args), **each(plain, kwargs))
    for a, value, before in kept:
        if not np.array_equal(value, before, equal_nan=True):
            a.assign(torch.from_numpy(value.astype(float)))
    return next((a for a, value, _ in kept if result is value), result)
