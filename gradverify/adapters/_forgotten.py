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
) -> list[Parameter]:
    """Those of ``rest`` that are parameters by their company, that the output depends on, as of source "none".

    The company: a dict or list with others that have a gradient (``params["W"]``), or a place for the gradient
    that backward left empty (``self.db = None``).
    """
    together = beside(p for f in found if f.source in ("attribute", "returned") for p in f.paths)
    return [
        Parameter(name="", paths=paths, source="none")
        for paths in rest
        if any(one_of(p, together, get(root, p)) or _empty_place(root, p) for p in paths) and matters(paths)
    ]


def beside(paths: Iterable[Path]) -> set[Path]:
    """The dicts and lists that hold the arrays at these paths."""
    return {p[:-1] for p in paths if p[-1][0] == "item"}


def one_of(path: Path, containers: set[Path], value: Any) -> bool:
    """Whether an array in one of these dicts or lists is a parameter, by its name and shape."""
    inside = path[-1][0] == "item" and path[:-1] in containers
    return inside and np.ndim(value) > 0 and not looks_like_gradient(path) and not BUFFER.search(label(path))


def _empty_place(root: Any, path: Path) -> bool:
    """Whether the gradient of the array at ``path`` has an attribute beside it, which is None."""
    owner, (kind, key) = get(root, path[:-1]), path[-1]
    if kind != "attribute" or isinstance(owner, Mapping) or np.ndim(get(root, path)) == 0:
        return False
    own = attributes(owner)
    frozen = own.get("requires_grad", own.get("trainable", True)) is False
    names = [*spellings(key), *(GRADIENT_KEYS if key in VALUE_KEYS else ())]
    return not frozen and not BUFFER.search(label(path)) and any(n in own and own[n] is None for n in names)
