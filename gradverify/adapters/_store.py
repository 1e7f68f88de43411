"""The arrays on an object: found by walking its attributes, lists and dicts, read and replaced by their path."""

from __future__ import annotations

import types
import weakref
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from gradverify.adapters._arrays import is_tensor, tensor_array
from gradverify.adapters._torch import to_tensor
from gradverify.errors import need
from gradverify.types import Array

Path: TypeAlias = tuple[tuple[str, Any], ...]  #: steps ("attribute", name) or ("item", key)
DEPTH = 8
_VIEWS: dict[int, tuple[Any, Array]] = {}  #: of tensors that are alive: id -> (reference, array)
VALUE_KEYS = ("value", "val", "data", "values", "param", "array")  #: self.W.value, self.W["val"]
PARAMETER_CONTAINERS = ("params", "parameters", "param", "weights", "theta", "variables", "p", "state")


def attributes(node: Any) -> dict[str, Any]:
    """The attributes of a user's object; nothing for modules, classes, functions and arrays."""
    if isinstance(
        node, (type, types.ModuleType, types.FunctionType, types.MethodType, np.ndarray, np.random.Generator)
    ):
        return {}
    slots = [s for c in type(node).__mro__ for s in _slots_of(c)]
    return {s: getattr(node, s) for s in slots if hasattr(node, s)} | dict(getattr(node, "__dict__", {}))


def _slots_of(cls: type) -> Iterable[str]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else (s for s in slots if s not in ("__dict__", "__weakref__"))


def children(node: Any) -> dict[tuple[str, Any], Any]:
    """What hangs on a node, by the step that leads there."""
    if isinstance(node, Mapping):
        return {("item", k): v for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return {("item", i): v for i, v in enumerate(node)}
    if is_tensor(node):
        return {}
    return {("attribute", k): v for k, v in attributes(node).items()}


def arrays(root: Any) -> dict[Path, Any]:
    """Every floating-point array (and Python float) reachable from ``root``, once per path."""
    found: dict[Path, Any] = {}

    def visit(node: Any, path: Path, above: frozenset[int]) -> None:
        for step, child in children(node).items():
            if is_tensor(child):
                if child.is_floating_point() and child.device.type == "cpu":
                    found[(*path, step)] = _view(child)
            elif isinstance(child, np.ndarray):
                if child.dtype.kind in "fc":
                    found[(*path, step)] = child
            elif isinstance(child, (float, np.floating)):
                found[(*path, step)] = child
            elif len(path) < DEPTH and id(child) not in above and not isinstance(child, (str, bytes, int)):
                visit(child, (*path, step), above | {id(child)})

    visit(root, (), frozenset({id(root)}))
    return found


def lists(root: Any) -> dict[int, list[Any]]:
    """Every list reachable from ``root``, by its id."""
    found: dict[int, list[Any]] = {}

    def visit(node: Any, above: frozenset[int]) -> None:
        if isinstance(node, list):
            found[id(node)] = node
        for child in children(node).values():
            plain = isinstance(child, (np.ndarray, str, bytes, int, float, type(None)))
            if not plain and len(above) < DEPTH and id(child) not in above:
                visit(child, above | {id(child)})

    visit(root, frozenset({id(root)}))
    return found


def _view(tensor: Any) -> Array:
    """A tensor as an array of the same memory; the very same array as long as it is the very same tensor."""
    key = id(tensor)
    kept = _VIEWS.get(key)
    if kept is None or kept[0]() is not tensor:
        kept = _VIEWS[key] = (weakref.ref(tensor, partial(_forget, key)), tensor_array(tensor))
    return kept[1]


def _forget(key: int, _: Any) -> None:
    _VIEWS.pop(key, None)


def holds_tensors(root: Any) -> bool:
    """Whether the floating-point arrays on an object are torch tensors."""
    found: list[bool] = []

    def visit(node: Any, above: frozenset[int]) -> None:
        for child in children(node).values():
            if is_tensor(child) or isinstance(child, np.ndarray):
                found.append(is_tensor(child))
            elif len(above) < DEPTH and id(child) not in above and not isinstance(child, (str, bytes, int, float)):
                visit(child, above | {id(child)})

    visit(root, frozenset({id(root)}))
    return any(found)


def get(root: Any, path: Path) -> Any:
    """What is at ``path``; raises KeyError, IndexError, AttributeError or TypeError where nothing is."""
    for kind, key in path:
        root = getattr(root, key) if kind == "attribute" else root[key]
    return root


def number(root: Any, path: Path) -> Any:
    """As ``get``; a tensor as an array of the same memory."""
    found = get(root, path)
    return _view(found) if is_tensor(found) else found


def put(root: Any, path: Path, value: Any) -> None:
    """Replace what is at ``path``; tuples on the way are rebuilt."""
    *front, (kind, key) = path
    owner = get(root, tuple(front))
    if isinstance(value, np.ndarray) and is_tensor(getattr(owner, key) if kind == "attribute" else owner[key]):
        value = to_tensor(need("torch", "torch", "an object that holds tensors"), value)
    if kind == "attribute":
        object.__setattr__(owner, key, value)
    elif isinstance(owner, tuple):
        put(root, tuple(front), tuple(value if i == key else v for i, v in enumerate(owner)))
    else:
        owner[key] = value


def updated(root: Any, path: Path, value: Any) -> bool:
    """Write ``value`` into the array at ``path``, and whether that could be done: views of it follow."""
    old = get(root, path)
    fits = isinstance(old, np.ndarray) and isinstance(value, np.ndarray) and old.shape == value.shape
    if not fits or old.dtype != value.dtype or not old.flags.writeable:
        return False
    old[...] = value
    return True


def parse(root: Any, text: str) -> Path:
    """``"layers.0.W"`` or ``"grads['W']"`` as a path on ``root``; raises LookupError when it leads nowhere."""
    path: Path = ()
    node = root
    for part in (
        text.replace("['", ".")
        .replace('["', ".")
        .replace("[", ".")
        .replace("']", "")
        .replace('"]', "")
        .replace("]", "")
        .split(".")
    ):
        step = next((s for s in children(node) if str(s[1]) == part), None)
        if step is None:
            if not hasattr(node, part) or isinstance(node, (list, tuple, Mapping)):
                raise LookupError(f"{text!r} leads nowhere: {type(node).__name__} has no {part!r}")
            step = ("attribute", part)  # a property
        path = (*path, step)
        node = get(node, (step,))
    return path


def label(path: Path) -> str:
    """``layers.0.W``; a container called params and a last step called value say nothing and are left out."""
    keys = [str(k) for _, k in path]
    if len(keys) > 1 and keys[-1] in VALUE_KEYS:
        keys.pop()
    named = [
        k
        for i, k in enumerate(keys)
        if i == len(keys) - 1 or k.lstrip("_") not in PARAMETER_CONTAINERS or keys[i + 1].isdigit()
    ]
    return ".".join(named)


def groups(table: Mapping[Path, Any]) -> list[tuple[Path, ...]]:
    """Paths that lead to the very same array, together; the shortest and most telling name first."""
    by_id: dict[int, list[Path]] = {}
    for path, value in table.items():
        key = id(value) if isinstance(value, np.ndarray) else -len(by_id) - 1
        by_id.setdefault(key, []).append(path)
    return [tuple(sorted(paths, key=lambda p: (label(p).split(".")[-1].isdigit(), len(p)))) for paths in by_id.values()]


def same(a: Any, b: Array) -> bool:
    """Whether an array still holds the values ``b``, NaN included."""
    return np.shape(a) == b.shape and bool(np.array_equal(np.asarray(a), b, equal_nan=True))
