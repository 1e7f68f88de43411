"""A primal that holds arrays: its structure, with a name for each array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gradverify.adapters._arrays import shape_of
from gradverify.adapters._gradients import spelled


@dataclass(frozen=True)
class Leaf:
    """The place of an array in a container, and its name as a primal."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Container:
    """One primal that holds arrays.

    tree    mappings, lists and tuples of Leafs; what is no array stands there itself
    leaves  in the order in which they are met
    """

    tree: Any
    leaves: tuple[Leaf, ...]

    def filled(self, values: Mapping[str, Any]) -> Any:
        """The container with the values of its arrays, by their names."""
        return _filled(self.tree, values)

    def taken_apart(self, gradient: Any) -> dict[str, Any] | None:
        """Name -> gradient, where something has the structure of the container (``dW`` for ``W`` too); else None."""
        found: dict[str, Any] = {}
        return found if _matched(self.tree, gradient, found) else None

    def fits(self, gradient: Any) -> bool:
        """Whether something has the structure, and its arrays the shapes."""
        found = self.taken_apart(gradient)
        return found is not None and all(found[f.name] is None or shape_of(found[f.name]) == f.shape
                                         for f in self.leaves)  # fmt: skip


def is_container(value: Any) -> bool:
    """A mapping, or a list or tuple in which an array (or another container) stands: numbers alone are an array."""
    if isinstance(value, Mapping):
        return True
    return isinstance(value, (list, tuple)) and any(is_container(v) or len(getattr(v, "shape", ())) > 0 for v in value)


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    yield from ((str(k), v) for k, v in (node.items() if isinstance(node, Mapping) else enumerate(node)))


def paths_of(node: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Where the arrays are. A whole number, a truth, a word and None are settings."""
    for key, value in _items(node):
        if is_container(value):
            yield from paths_of(value, (*above, key))
        elif not isinstance(value, (str, bool, int, type(None))) and not callable(value):
            yield (*above, key), value


def tree_of(node: Any, above: tuple[str, ...], leaves: Mapping[tuple[str, ...], Leaf]) -> Any:
    def below(key: str, value: Any) -> Any:
        path = (*above, key)
        return tree_of(value, path, leaves) if is_container(value) else leaves.get(path, value)

    if isinstance(node, Mapping):
        return {k: below(str(k), v) for k, v in node.items()}
    return _like(node, [below(k, v) for k, v in _items(node)])


def _like(node: Any, values: list[Any]) -> Any:
    """A list, tuple or named tuple of these values."""
    return type(node)(*values) if hasattr(node, "_fields") else type(node)(values)


def _filled(tree: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(tree, Leaf):
        return values[tree.name]
    if isinstance(tree, Mapping):
        return {k: _filled(v, values) for k, v in tree.items()}
    return _like(tree, [_filled(v, values) for v in tree]) if isinstance(tree, (list, tuple)) else tree


def _matched(tree: Any, gradient: Any, found: dict[str, Any]) -> bool:
    """Whether a gradient has the structure of a tree; its arrays by name in ``found``."""
    if isinstance(tree, Leaf):
        found[tree.name] = gradient
        return not isinstance(gradient, Mapping) and not callable(gradient)
    if isinstance(tree, Mapping):
        if not isinstance(gradient, Mapping):
            return False
        keys = {str(k): v for k, v in gradient.items()}
        places = {k: spelled(str(k), list(keys)) for k, v in tree.items() if _holds_a_leaf(v)}
        return all(p is not None and _matched(tree[k], keys[p], found) for k, p in places.items())
    if isinstance(tree, (list, tuple)):
        inner = [v for v in tree if _holds_a_leaf(v)]
        several = isinstance(gradient, (list, tuple)) or len(getattr(gradient, "shape", ())) > 0
        if not several or len(gradient) not in (len(tree), len(inner)):
            return False
        against = tree if len(gradient) == len(tree) else inner
        return all(not _holds_a_leaf(t) or _matched(t, g, found) for t, g in zip(against, gradient, strict=True))
    return True


def _holds_a_leaf(tree: Any) -> bool:
    if isinstance(tree, Mapping):
        return any(_holds_a_leaf(v) for v in tree.values())
    return isinstance(tree, Leaf) or (isinstance(tree, (list, tuple)) and any(_holds_a_leaf(v) for v in tree))
