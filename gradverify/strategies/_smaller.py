"""Cases with one row, column, unit or sample fewer: the last steps of shrinking, which know what belongs together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.strategies._ops import SPECS
from gradverify.types import Case

Places = list[tuple[str, int]]


def smaller(case: Case) -> Iterator[Case]:
    """Every case with one index of one length left out; constants of that length follow. Some may not fit together."""
    for places in _together(case).values():
        name, axis = places[0]
        n = case.primals[name].shape[axis]
        for i in range(n if n > 1 else 0):
            primals = dict(case.primals)
            for k, a in places:
                primals[k] = np.delete(primals[k], i, axis=a)
            yield replace(case, primals=primals, constants=_without(case.constants, n, i), upstream=None)


def _together(case: Case) -> dict[str, Places]:
    """Letter -> the axes that have its length: those of the op's spec, or the widths of a network."""
    if case.op in SPECS:
        shapes = dict(SPECS[case.op].shapes)
    else:
        depth = sum(k[0] == "W" and k[1:].isdigit() for k in case.primals)
        shapes = {"X": "b0", "Y": f"b{depth}", "y": f"b{depth}"}
        shapes |= {f"W{k}": f"{k}{k - 1}" for k in range(1, depth + 1)}
        shapes |= {f"b{k}": f"{k}" for k in range(1, depth + 1)}
    found: dict[str, Places] = {}
    for name, letters in shapes.items():
        for axis, letter in enumerate(letters):
            if name in case.primals:
                found.setdefault(letter, []).append((name, axis))
    if case.op == "residual_block":  # X is added to the output: the first and the last width are one
        found["0"] = found.pop("0") + found.pop("2")
    return {k: v for k, v in found.items() if k.upper() not in found or not k.isalpha()}  # gates are four times a width


def _without(constants: Any, n: int, i: int) -> dict[str, Any]:
    new = dict(constants)
    for k, v in constants.items():
        if isinstance(v, np.ndarray):
            axis = next((a for a, length in enumerate(v.shape) if length == n), None)
            new[k] = v if axis is None else np.delete(v, i, axis=axis)
    return new
