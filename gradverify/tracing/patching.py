"""Where the constructors of a trace are put: into the user's namespaces, and nowhere else.

``numpy`` itself is left alone. Compiled code (numpy.random, SciPy) looks ``np.empty`` up in it and takes the memory of
what it gets without a question. In the globals of the user's modules and functions, a name that is bound to numpy,
math or scipy is bound to a look-alike for the time of a trace; so is a name bound to ``np.zeros`` itself; and an
``import numpy`` inside a function gives the look-alike.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from gradverify.tracing.allocation import replacements, scalar_type, vectorized
from gradverify.tracing.escape import is_inside
from gradverify.tracing.tape import tracing

DEPTH = 6  #: how far from the traced callable its functions are looked for
FLOAT = scalar_type(float)  #: found before the builtin, in the globals of the user's functions
_LOCK = threading.RLock()  # namespaces are shared by all threads: one trace at a time


#: what was made last, beside what it was made of: two lists of the same objects are compared in no time
_MADE: dict[str, tuple[list[Any], Any]] = {}


def _remembered(what: str, of: list[Any], make: Callable[[], Any]) -> Any:
    """``make()``, or what it gave the last time if it was made of the very same objects."""
    if what not in _MADE or _MADE[what][0] != of:
        _MADE[what] = of, make()
    return _MADE[what][1]


def look_alikes() -> dict[int, Any]:
    """Id of a module or function -> what stands for it during a trace; made anew only where a module has changed."""
    modules = [m for n in ("numpy", "math", "numpy.linalg", "scipy", "scipy.special") if (m := sys.modules.get(n))]
    found: dict[int, Any] = _remembered("look-alikes", [v for m in modules for v in m.__dict__.values()], _look_alikes)
    return found


def _look_alikes() -> dict[int, Any]:
    stand: dict[int, Any] = {}

    def twin(module: ModuleType) -> ModuleType:
        if id(module) not in stand:
            copy = ModuleType(module.__name__, module.__doc__)
            copy.__dict__.update(module.__dict__)
            stand[id(module)] = copy
            parent, _, name = module.__name__.rpartition(".")
            if parent:
                setattr(twin(importlib.import_module(parent)), name, copy)
        found: ModuleType = stand[id(module)]
        return found

    twin(np)
    twin(math)
    for owner, name, replacement in replacements():
        stand[id(getattr(owner, name))] = replacement
        setattr(twin(owner), name, replacement)
    return stand


@functools.lru_cache(maxsize=65536)
def belongs_to_a_user(name: str, path: str | None) -> bool:
    """Is a module of this name and file neither the standard library's, nor an installed package's, nor ours?"""
    top = name.split(".", maxsplit=1)[0]
    if is_inside(name) or top == "gradverify" or (top in sys.stdlib_module_names and top != "__main__"):
        return False
    return "site-packages" not in (path or "")


def users_modules() -> list[dict[str, Any]]:
    """The globals of the user's modules, looked for again only when other modules are loaded."""
    found: list[dict[str, Any]] = _remembered("modules", list(sys.modules.values()), _users_modules)
    return found


def _users_modules() -> list[dict[str, Any]]:
    found = []
    for name, module in list(sys.modules.items()):
        names = getattr(module, "__dict__", None)
        if isinstance(names, dict):
            path = names.get("__file__")
            if belongs_to_a_user(name, path if isinstance(path, str) else None):
                found.append(names)
    return found


def namespaces(call: Any) -> Iterator[Any]:
    """The globals of the user's modules and of the functions that ``call`` is made of, and the cells of closures."""
    yield from users_modules()
    seen: set[int] = set()
    queue: list[tuple[Any, int]] = [(call, 0)]
    while queue:
        item, depth = queue.pop()
        if id(item) in seen or depth > DEPTH or isinstance(item, (str, bytes, int, float, np.ndarray, ModuleType)):
            continue
        seen.add(id(item))
        function = getattr(item, "__func__", item)
        names = getattr(function, "__globals__", None)
        if isinstance(names, dict):
            if is_inside(str(names.get("__name__", ""))):
                continue
            yield names
            yield from getattr(function, "__closure__", None) or ()
        queue.extend((part, depth + 1) for part in parts_of(item, function))


def parts_of(item: Any, function: Any) -> Iterator[Any]:
    """What a callable is made of: its closure, the object it is bound to, the methods of an object."""
    if isinstance(item, functools.partial):
        yield from (item.func, *item.args, *item.keywords.values())
        return
    if isinstance(item, Mapping):
        yield from item.values()
        return
    if isinstance(item, (list, tuple)):
        yield from item
        return
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a name that is not bound yet
            continue
    for name in ("__self__", "__wrapped__"):
        if hasattr(item, name):
            yield getattr(item, name)
    owner = item if isinstance(item, type) else type(item)
    if owner.__module__ != "builtins" and not is_inside(owner.__module__):
        for base in owner.__mro__[:-1]:
            if belongs_to_a_user(base.__module__, None):  # an adapter holds the user's functions, it has none of them
                yield from (v for v in vars(base).values() if hasattr(v, "__globals__") or hasattr(v, "__func__"))
        if not isinstance(item, type):
            yield from getattr(item, "__dict__", {}).values()


def entries(names: Any) -> list[tuple[str, Any]]:
    """(name, value) of a namespace or of a closure's cell, which has one value."""
    if isinstance(names, dict):
        return [(k, v) for k, v in names.items() if isinstance(k, str)]
    try:
        return [("cell", names.cell_contents)]
    except ValueError:
        return []


def put(names: Any, name: str, value: Any) -> None:
    """Bind a name, or fill a cell."""
    if isinstance(names, dict):
        names[name] = value
    else:
        names.cell_contents = value


@contextmanager
def patched(call: Any) -> Iterator[None]:
    """For the time of one trace, let the user's names for numpy mean its look-alike."""
    with _LOCK:
        stand = look_alikes()
        changed: list[tuple[Any, str, Any]] = []
        shadowed: list[dict[str, Any]] = []
        real_import, real_vectorize = builtins.__import__, np.vectorize.__call__

        def importing(name: str, globals: Any = None, locals: Any = None, *rest: Any, **options: Any) -> Any:
            module = real_import(name, globals, locals, *rest, **options)
            # a module that is itself being imported keeps its names: only imports inside functions are ours
            user = tracing() is not None and globals is not None and locals is not globals
            if user and belongs_to_a_user(str(globals.get("__name__", "")), None):
                return stand.get(id(module), module)
            return module

        try:
            done: set[int] = set()
            for names in namespaces(call):
                if id(names) not in done:
                    done.add(id(names))
                    for name, value in entries(names):
                        if id(value) in stand and not name.startswith("__"):
                            changed.append((names, name, value))
                            put(names, name, stand[id(value)])
                    if isinstance(names, dict) and "float" not in names:
                        names["float"] = FLOAT
                        shadowed.append(names)
            builtins.__import__ = importing
            np.vectorize.__call__ = vectorized(real_vectorize)  # type: ignore[method-assign]
            yield
        finally:
            builtins.__import__ = real_import
            np.vectorize.__call__ = real_vectorize  # type: ignore[method-assign]
            for names in shadowed:
                names.pop("float", None)
            for names, name, value in changed:
                put(names, name, value)
