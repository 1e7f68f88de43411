"""Which parameter's gradient is which part of what backward returned: by key, by shape and order, by like lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradverify.adapters._arrays import shape_of
from gradverify.adapters._gradients import flatten, spelled
from gradverify.adapters._plan import Parameter, Trial
from gradverify.adapters._store import PARAMETER_CONTAINERS, Path, get, label


def mapping(result: Any) -> Mapping[Any, Any] | None:
    """The mapping that backward returned, alone or beside other things."""
    if isinstance(result, Mapping):
        return result
    parts = result if isinstance(result, (tuple, list)) else ()
    return next((v for v in parts if isinstance(v, Mapping)), None)


def keyed(trial: Trial, owned: Sequence[tuple[Path, ...]]) -> dict[tuple[Path, ...], tuple[Any, Any]]:
    """By paths, (key, gradient) of a returned mapping; of several arrays with that key the most likely one."""
    result = mapping(trial.result) or {}
    keys = {str(k): k for k in result}
    claims: dict[str, list[tuple[Path, ...]]] = {}
    for paths in owned:
        if (name := next((s for p in paths if (s := _key(p, list(keys)))), None)) is not None:
            claims.setdefault(name, []).append(paths)

    def likely(paths: tuple[Path, ...], name: str) -> tuple[bool, bool, int]:
        fits = shape_of(get(trial.root, paths[0])) == shape_of(result[keys[name]])
        named = any(str(k) in PARAMETER_CONTAINERS for p in paths for _, k in p)
        return not fits, not named, min(len(p) for p in paths)

    best = {name: min(all_, key=lambda paths: likely(paths, name)) for name, all_ in claims.items()}
    return {paths: (keys[name], result[keys[name]]) for name, paths in best.items()}


def returned(
    trial: Trial, rest: list[tuple[Path, ...]], skips: Sequence[int], beyond: Sequence[int]
) -> tuple[list[Parameter], list[tuple[Path, ...]]]:
    """Gradients among what backward returned, by shape and order; those ``beyond`` only if every parameter has one."""
    if mapping(trial.result) is not None:
        return [], rest
    leaves = list(flatten(trial.result)) if isinstance(trial.result, (tuple, list)) else []
    for measure in (shape_of, np.size):  # a bias gradient of shape (3,) for (1, 3) is still that of the bias
        have = [measure(get(trial.root, p[0])) for p in rest]
        for skip in dict.fromkeys((*skips, *beyond)):
            order = _in_order(have, [measure(v) for v in leaves[skip:]])
            if order and (skip in skips or len(order) == len(rest)):
                chosen = [
                    Parameter(name="", paths=rest[i], source="returned", key=skip + j) for j, i in enumerate(order)
                ]
                return chosen, [p for i, p in enumerate(rest) if i not in order]
    if lists := _like_lists(trial, rest):
        return lists, [p for p in rest if p not in [f.paths for f in lists]]
    if rest and len(rest) == len(leaves) - skips[-1]:  # a wrong shape is the checks' business
        return [Parameter(name="", paths=p, source="returned", key=skips[-1] + j) for j, p in enumerate(rest)], []
    return [], rest


def _like_lists(trial: Trial, rest: list[tuple[Path, ...]]) -> list[Parameter]:
    """Returned lists (nabla_b, nabla_w) matched with the lists of arrays on the object, by length and most shapes."""
    result = trial.result if isinstance(trial.result, tuple) else ()
    if not result or not all(isinstance(v, list) and v for v in result):
        return []
    owned: dict[Path, list[tuple[Path, ...]]] = {}
    for paths in rest:
        if paths[0][-1][0] == "item":
            owned.setdefault(paths[0][:-1], []).append(paths)
    found: list[Parameter] = []
    start = 0
    for values in result:
        fits = {
            front: sum(shape_of(get(trial.root, p[0])) == shape_of(v) for p, v in zip(paths, values, strict=True))
            for front, paths in owned.items()
            if len(paths) == len(values)
        }
        if not fits or len(list(flatten(values))) != len(values):
            return []
        best = owned.pop(max(fits, key=lambda front: fits[front]))
        found += [Parameter(name="", paths=p, source="returned", key=start + i) for i, p in enumerate(best)]
        start += len(values)
    return found


def _key(path: Path, keys: list[str]) -> str | None:
    flat = "".join(k for k in label(path).split(".") if k)
    return spelled(str(path[-1][1]), keys) or spelled(label(path), keys) or spelled(flat, keys)


def _in_order(have: Sequence[object], want: Sequence[object]) -> list[int] | None:
    """For each wanted shape (or size) the first unused parameter that has it; None when one is missing."""
    left = list(range(len(have)))
    chosen: list[int] = []
    for shape in want:
        i = next((i for i in left if have[i] == shape), None)
        if i is None:
            return None
        left.remove(i)
        chosen.append(i)
    return chosen
