"""The user's functions, what they keep between calls, and what they say once they have forgotten it."""

from __future__ import annotations

import contextlib
import inspect
from collections import deque
from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

LIMIT = 16  #: containers that are tried; code with more of them keeps data in them
OBJECTS = 500  #: functions, classes and objects that are looked at
NOT_THEIRS = ("numpy", "torch", "scipy", "jax", "gradverify", "builtins")


def kept(adapter: object) -> dict[str, Any]:
    """Dictionaries, lists and ``lru_cache``s that outlive a call, by name: in closures, defaults, globals, classes."""
    found: dict[str, Any] = {}
    held = list(vars(adapter).values()) if hasattr(adapter, "__dict__") else []
    for name, container in _reached(held):
        if not any(container is c for c in found.values()):
            found.setdefault(name, container)
        if len(found) == LIMIT:
            break
    return found


def functions(adapter: object) -> list[FunctionType]:
    """The user's own functions, those that they call by name too."""
    met: list[Any] = []
    for _ in _reached(list(vars(adapter).values()) if hasattr(adapter, "__dict__") else [], met):
        pass
    return [x for x in met if isinstance(x, FunctionType) and not _foreign(x)]


@contextlib.contextmanager
def forgotten(container: Any) -> Iterator[None]:
    """Inside, the container is empty; afterwards it holds what it held (an ``lru_cache`` fills itself again)."""
    if hasattr(container, "cache_clear"):
        container.cache_clear()
        yield
        return
    before = container.copy()
    container.clear()
    try:
        yield
    finally:
        container.clear()
        container.update(before) if isinstance(container, dict) else container.extend(before)


def _reached(held: list[Any], met: list[Any] | None = None) -> Iterator[tuple[str, Any]]:
    """(name, container) of everything that functions, classes and objects of the user's can reach by name.

    met  is given everything that was looked at
    """
    queue, seen = deque(held), set[int]()
    while queue and len(seen) < OBJECTS:
        x = _itself(queue.popleft())
        if id(x) in seen:
            continue
        seen.add(id(x))
        if met is not None:
            met.append(x)
        if hasattr(x, "cache_info") and hasattr(x, "__wrapped__"):
            yield x.__name__, x
            queue.append(x.__wrapped__)
            continue
        for name, value in _named(x):
            if isinstance(value, (dict, list)):
                if value and not name.startswith("__"):
                    yield name, value
            elif callable(value) or isinstance(value, (staticmethod, classmethod)) or hasattr(value, "forward"):
                queue.append(value)


def _itself(x: Any) -> Any:
    """The function within a partial or a method."""
    x = x.func if isinstance(x, partial) else x
    return x.__func__ if isinstance(x, (MethodType, staticmethod, classmethod)) else x


def _named(held: Any) -> list[tuple[str, Any]]:
    if isinstance(held, FunctionType):
        return _of_function(held)
    kind = held if isinstance(held, type) else type(held)
    obj = vars(held).get("obj") if hasattr(held, "__dict__") and not isinstance(held, type) else None
    inside = [("obj", obj)] if obj is not None else []  # the template of a layer
    if _foreign(kind):
        return inside
    members = [(k, v) for c in kind.__mro__ if not _foreign(c) for k, v in vars(c).items()]
    return [*members, *inside]


def _of_function(f: FunctionType) -> list[tuple[str, Any]]:
    if _foreign(f):
        return []
    found: list[tuple[str, Any]] = []
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell
            found.append((name, cell.cell_contents))
    with contextlib.suppress(TypeError, ValueError):
        found += [(p.name, p.default) for p in inspect.signature(f).parameters.values() if p.default is not p.empty]
    used = f.__code__.co_names
    return [*found, *((n, f.__globals__[n]) for n in used if n in f.__globals__)]


def _foreign(x: Any) -> bool:
    module = str(getattr(x, "__module__", "") or "")
    return module.partition(".")[0] in NOT_THEIRS and not module.startswith("gradverify.mutants")  # who play the user
