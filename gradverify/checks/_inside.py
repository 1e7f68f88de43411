"""Twins of an adapter: the same user code, wired in another way. The adapter itself is never changed.

The protocol of an adapter has no word for these, so they are made from what the adapters of this package hold; for
any other adapter the answer is None, and the check that asked says so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from gradverify.types import Adapter


class _Applied:
    """An ``autograd.Function`` whose ``apply`` is another one; everything else is the function's own."""

    def __init__(self, function: Any, apply: Callable[..., Any]) -> None:
        self._own, self.apply = function, apply

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def twice(adapter: Adapter) -> Adapter | None:
    """The operation applied twice to the same tensors in one graph of its own engine, h + (h + f(x)) with h = f(x).

    The paths from h to the sum have different lengths: an engine that goes back level by level hands h's gradient on
    before all of it has arrived.
    """
    held = vars(adapter) if hasattr(adapter, "__dict__") else {}
    twin: Any = copy.copy(adapter)
    if hasattr(held.get("_function"), "apply"):
        twin._function = _Applied(held["_function"], _doubled(held["_function"].apply))
    elif getattr(adapter, "framework", "") == "tape" and callable(held.get("_fn")):
        twin._fn = _doubled(held["_fn"])
    elif "engine" in getattr(adapter, "traits", ()) and all(hasattr(adapter, m) for m in ("_forward", "_leaves")):
        twin._forward = _doubled(twin._forward)
    else:
        return None
    answer: Adapter = twin
    return answer


def tied(adapter: Adapter, a: str, b: str) -> Adapter | None:
    """The adapter of an engine with one tensor as both arguments ``a`` and ``b``; for torch functions and callables."""
    leaves = getattr(adapter, "_leaves", None)
    if "engine" not in getattr(adapter, "traits", ()) or leaves is None:
        return None
    twin: Any = copy.copy(adapter)

    def shared(case: Any, *wrt: Any) -> Any:
        found = leaves(case, *wrt)
        if isinstance(found, dict):
            return {**found, b: found[a]}
        args, by_name = found
        one, other = by_name[a], by_name[b]
        return [one if arg is other else arg for arg in args], {**by_name, b: one}

    twin._leaves = shared
    answer: Adapter = twin
    return answer


def _doubled(op: Callable[..., Any]) -> Callable[..., Any]:
    def diamond(*args: Any, **kwargs: Any) -> Any:
        one, other = op(*args, **kwargs), op(*args, **kwargs)
        return _added(one, _added(one, other))

    return diamond


def _added(one: Any, other: Any) -> Any:
    """Two results of the same operation, added tensor by tensor. Raises TypeError for what cannot be added."""
    if isinstance(one, Mapping):
        return {k: _added(v, other[k]) for k, v in one.items()}
    if isinstance(one, (tuple, list)):
        return type(one)(_added(x, y) for x, y in zip(one, other, strict=True))
    return one if one is None or isinstance(one, (str, int)) else one + other
