"""Settings that the user's object carries (``self.stride``, ``self.reg``), at other values: a twin of its adapter."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.checks._modes import is_object
from gradverify.checks._settings import LONG, PENALTY
from gradverify.sampling import evaluate, quiet
from gradverify.types import Adapter, Bench, leaves

DEPTH, MEMBERS = 4, 50  #: of objects within each other, and of the members of a container, that are looked through
MOST = 8  #: settings that are tried


def hidden_on_object(bench: Bench) -> Iterator[tuple[str, str, Adapter]]:
    """(what the given setting hides, the other setting in words, the adapter of an object that has it).

    A penalty of 0 is tried where the forward has it; fewer of what makes the output smaller, whatever its name.
    """
    owner = getattr(vars(bench.adapter).get("_template"), "obj", None) if hasattr(bench.adapter, "__dict__") else None
    if not is_object(owner):
        return
    tried = 0
    found = list(_numbers(owner, ()))
    lengths = {n for _, v in found if isinstance(v, np.ndarray) for n in v.shape}
    for path, value in found:
        name = str(path[-1])
        if isinstance(value, np.ndarray) or lengths & set(value if isinstance(value, tuple) else (value,)):
            continue  # it may say how long an array on the object is, which would contradict it
        for other, why in _others(name, value):
            if tried == MOST:
                return
            tried += 1
            twin = _twin(bench.adapter, path, other)
            if twin is not None and _tells(bench, twin, larger=not PENALTY.fullmatch(name)):
                said = ".".join(map(str, path))
                yield f"{said} is {value}{why}", f"with {said} = {other}", twin


def _others(name: str, value: Any) -> Iterator[tuple[Any, str]]:
    if isinstance(value, (int, float)) and value == 0:
        if PENALTY.fullmatch(name):
            yield 0.1, ""
        return
    steps = value if isinstance(value, tuple) else (value,)
    whole = all(isinstance(n, (int, np.integer)) and 1 <= n <= LONG for n in steps)
    if whole and max(steps) > 1:
        yield (tuple(1 for _ in steps) if isinstance(value, tuple) else 1), ": windows may not overlap"


def _numbers(owner: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Numbers, tuples of numbers and arrays on an object and on what hangs on it, in the order of their making."""
    if len(path) > DEPTH:
        return
    if isinstance(owner, Mapping):
        members = list(owner.items())[:MEMBERS]
    elif isinstance(owner, (list, tuple)):
        members = list(enumerate(owner[:MEMBERS]))
    else:
        members = list(vars(owner).items())
    for key, value in members:
        plain = isinstance(value, (int, float, np.integer)) and not isinstance(value, bool)
        numbers = isinstance(value, tuple) and value != () and all(type(n) is int for n in value)
        named = is_object(owner) or isinstance(owner, Mapping)
        if isinstance(value, np.ndarray) or (named and (plain or numbers)):
            yield (*path, key), value
        elif isinstance(value, (Mapping, list)) or is_object(value):
            yield from _numbers(value, (*path, key))


def _twin(adapter: Adapter, path: tuple[Any, ...], value: Any) -> Adapter | None:
    """The same adapter over a copy of its object on which one setting is another one."""
    held: Any = adapter
    try:
        obj = copy.deepcopy(held._template.obj)
    except Exception:  # noqa: BLE001  (any object may refuse to be copied: then its settings stay)
        return None
    twin = copy.copy(held)
    twin._template = replace(held._template, obj=obj, factory=None)
    *front, last = path
    place = obj
    for key in front:
        place = getattr(place, key) if is_object(place) else place[key]
    if is_object(place):
        setattr(place, last, value)
    else:
        place[last] = value
    found: Adapter = twin
    return found


def _tells(bench: Bench, twin: Adapter, *, larger: bool) -> bool:
    """Whether the forward of the twin runs, twice alike, and gives more entries, or at least others."""
    case = replace(bench.case, upstream=None)
    with quiet():
        try:
            one, two, here = (leaves(evaluate(a, case)) for a in (twin, twin, bench.adapter))
        except Exception:  # noqa: BLE001  (whatever it raises, this setting is not accepted)
            return False
    if one.keys() != here.keys() or not all(np.array_equal(one[k], two[k]) for k in one):
        return False
    if not all(np.all(np.isfinite(v)) for v in one.values()):
        return False
    if larger:
        return sum(np.size(v) for v in one.values()) > sum(np.size(v) for v in here.values())
    return any(not np.array_equal(one[k], here[k]) for k in one)
