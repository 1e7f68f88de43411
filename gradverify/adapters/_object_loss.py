"""``net.loss(X, y) -> (loss, grads)`` on an object with ``self.params``: its arrays by name, and copies to run on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradverify.adapters._bind import signature
from gradverify.adapters._forgotten import one_of
from gradverify.adapters._methods import LOSS, has
from gradverify.adapters._store import Path, arrays, get, groups, label, put
from gradverify.errors import AdapterError
from gradverify.types import Array


class LossObject:
    """A loss method with its object; every call works on a deep copy."""

    def __init__(self, owner: Any, method: str) -> None:
        self.owner, self.method = owner, method

    @staticmethod
    def of(subject: Any) -> LossObject | None:
        """From an object with a loss method, or from a bound method; None for anything else."""
        owner = getattr(subject, "__self__", None)
        if (
            owner is not None
            and not isinstance(owner, type)
            and hasattr(owner, "__dict__")
            and hasattr(subject, "__func__")
        ):
            return LossObject(owner, subject.__name__)
        if hasattr(subject, "__code__") or isinstance(subject, type) or not hasattr(subject, "__dict__"):
            return None
        name = has(subject, LOSS)
        return LossObject(subject, name) if name else None

    def arrays(self) -> dict[str, Array]:
        """The arrays on the object by their short names, each once."""
        table = arrays(self.owner)
        return {label(g[0]): table[g[0]] for g in groups(table) if isinstance(table[g[0]], np.ndarray)}

    def paths(self, name: str) -> tuple[Path, ...]:
        """All the places of the array of this name."""
        return next(g for g in groups(arrays(self.owner)) if label(g[0]) == name)

    def in_any(self, name: str, containers: set[Path]) -> bool:
        """Whether the array of this name is a parameter by its company in one of these dicts or lists."""
        return any(one_of(p, containers, get(self.owner, p)) for p in self.paths(name))

    def bound(self, values: Mapping[str, Any]) -> tuple[Callable[..., Any], list[str]]:
        """The method of a fresh copy with those of ``values`` set that are its arrays, and the names of these."""
        try:
            obj = copy.deepcopy(self.owner)
        except Exception as error:
            what = type(self.owner).__name__
            raise AdapterError(
                f"{what} cannot be copied ({error}); write a function that makes one and calls it"
            ) from error
        fn: Callable[..., Any] = getattr(obj, self.method)
        taken = signature(fn).names
        found = {label(p): g for g in groups(arrays(obj)) for p in g}
        on_it = [n for n in values if n in found and n not in taken]
        for n in on_it:
            for path in found[n]:
                put(obj, path, values[n])
        return fn, on_it
