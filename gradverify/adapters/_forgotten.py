"""Parameters that backward gives no gradient for, though it does for those beside them: their gradient is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gradverify.adapters._gradients import spellings
from gradverify.adapters._pairs import GRADIENT_KEYS, looks_like_gradient
from gradverify.adapters._plan import Parameter
from gradverify.adapters._store import VALUE_KEYS, Path, attributes, get, label

#: running statistics, masks and fixed tables are kept beside the parameters, too
BUFFER = re.compile(r"mean|var|std|running|moving|avg|ema|stat|mask|freq|mom|cache|scaler_|position", re.IGNORECASE)


def forgotten(
    root: Any,
    found: Sequence[Parameter],
    rest: Iterable[tuple[Path, ...]],
    matters: Callable[[tuple[Path, ...]], bool],
    *,
    updates: bool = False,
) -> list[Parameter]:
    """Those of ``rest`` that are parameters by their company, that the output depends on, as of source "none".

    The company: a dict or list with others that have a gradient (``params["W"]``), a place for the gradient that
    backward left empty (``self.db = None``), or others that backward updates.
    updates  backward takes a learning rate: it should update all that the object has
    """
    together = beside(p for f in found if f.source in ("attribute", "returned") for p in f.paths)
    updated = {p[:-1] for f in found if f.source == "updated" for p in f.paths} | ({()} if updates else set())

    def belongs(path: Path) -> bool:
        value = get(root, path)
        return one_of(path, together, value) or _empty_place(root, path) or _not_updated(path, updated, value)

    return [
        Parameter(name="", paths=paths, source="none")
        for paths in rest
        if any(belongs(p) for p in paths) and matters(paths)
    ]


def beside(paths: Iterable[Path]) -> set[Path]:
    """The dicts and lists that hold the arrays at these paths."""
    return {p[:-1] for p in paths if p[-1][0] == "item"}


def one_of(path: Path, containers: set[Path], value: Any) -> bool:
    """Whether an array in one of these dicts or lists is a parameter, by its name and shape."""
    inside = path[-1][0] == "item" and path[:-1] in containers
    return inside and np.ndim(value) > 0 and not looks_like_gradient(path) and not BUFFER.search(label(path))


def _not_updated(path: Path, owners: set[Path], value: Any) -> bool:
    """Whether an array lies on one of the objects or containers that backward updates."""
    return path[:-1] in owners and np.ndim(value) > 0 and not BUFFER.search(label(path))


def _empty_place(root: Any, path: Path) -> bool:
    """Whether the gradient of the array at ``path`` has an attribute beside it, which is None."""
    owner, (kind, key) = get(root, path[:-1]), path[-1]
    if kind != "attribute" or isinstance(owner, Mapping) or np.ndim(get(root, path)) == 0:
        return False
    own = attributes(owner)
    frozen = own.get("requires_grad", own.get("trainable", True)) is False
    names = [*spellings(key), *(GRADIENT_KEYS if key in VALUE_KEYS else ())]
    return not frozen and not BUFFER.search(label(path)) and any(n in own and own[n] is None for n in names)
