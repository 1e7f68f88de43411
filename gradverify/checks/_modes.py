"""Train mode and eval mode: where the user's code keeps them, and the same adapter and case in the other one."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from gradverify.types import Adapter, Case

TRAIN = re.compile(r"_*(is_?)?train(ing)?(_?(mode|fla?g|phase))?_*", re.IGNORECASE)
EVAL = re.compile(r"_*(is_?)?(test(ing)?|eval(uation)?|inference)(_?(mode|fla?g|phase))?_*", re.IGNORECASE)
WORD = re.compile(r"_*(mode|phase)_*", re.IGNORECASE)  #: mode = "train" | "test"
LEARNING, RESTING = ("train", "training"), ("test", "eval", "inference", "testing")
DEPTH = 8  #: of objects and containers within each other that are looked through
OBJECTS = 5000  #: looked at in all
MEMBERS = 200  #: of a container: layers are not more, and data need not be searched


def other_mode(adapter: Adapter, case: Case) -> Iterator[tuple[str, Adapter, Case]]:
    """(name of the other mode, adapter, case) in it; several where its word is not known, none without a mode."""
    words: set[str] = set()
    for resting in RESTING:
        told: list[str] = []
        constants = _flipped(case.constants, resting, told)
        constants |= _defaults(adapter, case, resting, told)
        twin = _twin(adapter, resting, told)
        if not told:
            return
        mode, said = told[0].partition(":")[::2]
        if said in words or len({t.partition(":")[0] for t in told}) > 1:
            continue  # tried already, or a mixture of both modes: nobody says which one is the other
        words.add(said)
        yield mode, twin, replace(case, constants=constants)
        if not any(t.partition(":")[2] in RESTING for t in told):
            return  # no word for the mode that could be another one


def _turned(name: str, value: Any, resting: str) -> tuple[Any, str] | None:
    """(the other value, "eval:" or "train:" with the word used) for a flag, None for anything else."""
    if isinstance(value, bool) and TRAIN.fullmatch(name):
        return not value, "eval:" if value else "train:"
    if isinstance(value, bool) and EVAL.fullmatch(name):
        return not value, "train:" if value else "eval:"
    if isinstance(value, str) and WORD.fullmatch(name):
        if value in LEARNING:
            return resting, f"eval:{resting}"
        if value in RESTING:
            return "train", "train:train"
    return None


def _flipped(values: Mapping[str, Any], resting: str, told: list[str]) -> dict[str, Any]:
    """Constants in the other mode; dictionaries within (``bn_param={"mode": "train"}``) too."""
    new = dict(values)
    for k, v in values.items():
        if isinstance(v, dict):
            new[k] = _flipped(v, resting, told)
        elif (turned := _turned(str(k), v, resting)) is not None:
            new[k] = turned[0]
            told.append(turned[1])
    return new


def _defaults(adapter: Adapter, case: Case, resting: str, told: list[str]) -> dict[str, Any]:
    """A flag of the forward that was left at its default: ``forward(x, training=True)``."""
    found: dict[str, Any] = {}
    for name, default in optional(forward_of(adapter)).items():
        if name not in case.constants and (turned := _turned(name, default, resting)) is not None:
            found[name] = turned[0]
            told.append(turned[1])
    return found


def vars_of_object(adapter: Any) -> dict[str, Any]:
    """The attributes of the user's object, before any run, where its adapter holds one."""
    owner = getattr(vars(adapter).get("_template"), "obj", None) if hasattr(adapter, "__dict__") else None
    return dict(getattr(owner, "__dict__", {}))


def forward_of(adapter: Any) -> Callable[..., Any] | None:
    """The user's own forward, where its adapter holds it."""
    held = vars(adapter) if hasattr(adapter, "__dict__") else {}
    if "inner" in held:
        return forward_of(held["inner"])
    owner = getattr(held.get("_template"), "obj", None)
    found = getattr(owner, "forward", None) or held.get("_forward") or held.get("_fn")
    return found if callable(found) else None


def optional(fn: Callable[..., Any] | None) -> dict[str, Any]:
    try:
        parameters = inspect.signature(fn).parameters.values() if fn is not None else ()
    except (TypeError, ValueError):
        return {}
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _twin(adapter: Any, resting: str, told: list[str]) -> Any:
    """The adapter with the flags of the object behind it turned, on a copy; itself where there are none."""
    held = vars(adapter) if hasattr(adapter, "__dict__") else {}
    memo: dict[int, Any] = {}
    twin = copy.copy(adapter)
    found = False
    for name, value in held.items():
        if name == "inner":
            before = len(told)
            new = _twin(value, resting, told)
            found = found or len(told) > before
        else:
            owner = value if is_object(value) else getattr(value, "obj", None)
            if id(value) in memo:
                setattr(twin, name, memo[id(value)])  # held under two names, turned once
                continue
            own = {id(place) for place, _, _ in _flags(owner, resting)} if is_object(owner) else set()
            if not own:
                continue
            try:
                new = copy.deepcopy(value, memo)
            except Exception:  # noqa: BLE001  (any object may refuse to be copied: then its mode stays)
                continue
            for place, key, (turned, word) in list(_flags(new if value is owner else new.obj, resting)):
                if id(place) not in own:  # a singleton that copying hands back stays as it is
                    setattr(place, key, turned)
                    told.append(word)
            found = True
        setattr(twin, name, new)
    return twin if found else adapter


def turned_on(owner: Any, resting: str) -> None:
    """Turn every flag on an object and on what hangs on it, in place."""
    for place, key, (turned, _) in list(_flags(owner, resting)):
        setattr(place, key, turned)


def is_object(value: Any) -> bool:
    """An instance of a class with attributes, which may have a mode; no function, class or Python module."""
    if isinstance(value, (type, ModuleType)):
        return False
    return hasattr(value, "__dict__") and not hasattr(type(value), "__get__")


def _flags(
    owner: Any, resting: str, depth: int = DEPTH, seen: set[int] | None = None
) -> Iterator[tuple[Any, str, tuple[Any, str]]]:
    """(object, attribute, (other value, word)) of every flag on an object and what hangs on it."""
    seen = set() if seen is None else seen
    if depth == 0 or id(owner) in seen or len(seen) > OBJECTS:
        return
    seen.add(id(owner))
    if isinstance(owner, Mapping):
        for v in list(owner.values())[:MEMBERS]:
            yield from _flags(v, resting, depth - 1, seen)
    elif isinstance(owner, (list, tuple)):
        for v in owner[:MEMBERS]:
            yield from _flags(v, resting, depth - 1, seen)
    elif is_object(owner):
        for k, v in list(vars(owner).items()):
            if (turned := _turned(k, v, resting)) is not None:
                yield owner, k, turned
            elif isinstance(v, (Mapping, list, tuple)) or is_object(v):
                yield from _flags(v, resting, depth - 1, seen)
