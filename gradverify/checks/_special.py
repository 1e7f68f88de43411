"""Constants whose value hides where they enter: a factor of one, an offset of zero, a mask of ones, the identity."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from gradverify.checks._axes import PARAMETER
from gradverify.types import Array, Case, differentiable

FLOATS = {1.0: 0.7}  #: what is tried for a number that cannot tell
INTEGERS = {0: 1, 1: 2}
AXIS = re.compile(r"_*(axis|dim)_*", re.IGNORECASE)
#: whole numbers that matter though they were left at their default
WINDOW = re.compile(r"_*(dilations?|pad(ding)?|groups?|(n_?|num_?)?heads?)_*", re.IGNORECASE)


def special(
    case: Case, settings: Mapping[str, Any], given: Collection[str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(what the given value hides, the other value in words, constants) for every such constant.

    settings  the constants, and what the forward was left at its default;  given  the names of the former
    """
    for k, v in settings.items():
        if isinstance(v, np.ndarray) and v.ndim:
            found = _array(case, k, v)
            if found is not None:
                yield f"{k} is {found[0]}", f"with {k} {found[1]}", {k: found[2]}
        elif (other := _number(k, v, given=k in given)) is not None:
            yield f"{k} is {v}", f"with {k} = {other}", {k: other}


def _number(name: str, v: Any, *, given: bool) -> Any:
    if isinstance(v, (bool, np.bool_, np.ndarray)):
        return None
    if isinstance(v, (float, np.floating)):
        return FLOATS.get(float(v))
    if isinstance(v, (int, np.integer)):
        if AXIS.fullmatch(name):
            return {-1: 0, 0: -1, 1: 0}.get(int(v)) if given else None
        return INTEGERS.get(int(v)) if given or WINDOW.fullmatch(name) else None
    return None


def _array(case: Case, name: str, v: Array) -> tuple[str, str, Array] | None:
    """(what it is, what it is there, the other array); whatever is written there is a mask again, or an index."""
    if v.size < 2:
        return None
    first = v.reshape(-1)[0]
    if v.dtype.kind in "fb" and first in (0, 1) and np.all(v == first):
        pattern = (np.arange(v.size) % 3 != 1).reshape(v.shape)
        return ("all ones" if first else "all zeros"), "of ones and zeros", pattern.astype(v.dtype)
    if v.dtype.kind not in "iu" or v.ndim != 1:
        return None
    if np.array_equal(v, np.arange(v.size)):
        return "0, 1, 2, ...: the identity, as an index", "in another order", np.roll(v, 1)
    whole = np.array_equal(np.sort(v), np.arange(v.size))  # a permutation stays one
    tables = [k for k, p in case.primals.items() if PARAMETER.fullmatch(k) and differentiable(p) and p.ndim == 2]
    if tables and not whole and np.unique(v).size == v.size:
        again = v.copy()
        again[1] = again[0]
        return "without a repeated index", "with a repeated index", again
    return None
