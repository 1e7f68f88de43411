"""Which array on an object is the gradient of which parameter: by name, in all the spellings of REALCODE.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gradverify.adapters._arrays import shape_of
from gradverify.adapters._gradients import spellings
from gradverify.adapters._store import PARAMETER_CONTAINERS, VALUE_KEYS, Path

GRADIENT_KEYS = ("grad", "gradient", "g", "d", "delta", "dval", "dvalue", "grads")
CONTAINERS = (
    "grads",
    "gradients",
    "grad",
    "gradient",
    "dparams",
    "d_params",
    "grad_params",
    "params_grad",
    "param_grads",
    "derivatives",
    "deltas",
    "g",
)
GRADIENT_LIKE = re.compile(r"^(d[A-Z_]|d\w{1,10}$|grad|nabla|delta)|(_d|grad|grads|gradient|gradients|_g|_bar|delta)$")


def folded(path: Path) -> tuple[str, ...]:
    """A path without the difference between attribute and item, case and a leading underscore."""
    return tuple(str(k).lstrip("_").casefold() for _, k in path)


def candidates(path: Path) -> Iterator[tuple[str, ...]]:
    """Where the gradient of the parameter at ``path`` may be, the most usual place first, as folded paths."""
    keys = folded(path)
    front, last = keys[:-1], keys[-1]
    lasts = [s.casefold() for s in spellings(last)] if not last.isdigit() else []
    if front and last in VALUE_KEYS:
        yield from ((*front, g) for g in GRADIENT_KEYS)  # self.W.value, self.W.grad
    yield from ((*front, s) for s in lasts)  # self.W, self.dW
    for container in CONTAINERS:  # self.W, self.grads["W"]
        yield from ((*front, container, k) for k in (last, *lasts))
    for i in range(len(keys) - 2, -1, -1):  # params["W"], grads["W"]; weights[0], dweights[0]
        beside = list(CONTAINERS) if keys[i] in PARAMETER_CONTAINERS else []
        if not keys[i].isdigit():
            beside = [*(s.casefold() for s in spellings(keys[i])), *beside]
        for container in beside:
            yield from ((*keys[:i], container, *keys[i + 1 : -1], k) for k in (last, *lasts))
    if front:  # layer1.W, grads["W1"] on the network
        yield from ((c, k) for c in CONTAINERS for k in (last, *lasts) if not last.isdigit())


def partner(path: Path, table: Mapping[Path, Any], taken: set[Path]) -> Path | None:
    """The path of the gradient of the parameter at ``path``; the right shape is preferred, a wrong one accepted."""
    by_fold: dict[tuple[str, ...], list[Path]] = {}
    for other in table:
        if other != path and other not in taken:
            by_fold.setdefault(folded(other), []).append(other)
    found = [other for keys in candidates(path) for other in by_fold.get(keys, [])]
    shape = shape_of(table[path]) if path in table else None
    return next((o for o in found if shape_of(table[o]) == shape), found[0] if found else None)


def looks_like_gradient(path: Path) -> bool:
    """Whether any step of the path is named like a gradient."""
    return any(GRADIENT_LIKE.search(str(k)) for _, k in path)
