"""Settings whose value hides where they enter, and others in their place.

A factor of 1, an offset of 0, a level of 1/2; a mask that masks nothing, weights of 1, the identity as an index.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradverify.checks._axes import PARAMETER
from gradverify.types import Array, Case, differentiable

FACTOR = r"alpha|beta|gamma|delta|tau|temp(erature)?|scale|slope|sigma|margin|omega|(pos_?)?weight|strength"
#: names, the number that hides something, and what is tried for it; an integer of 1 may be a count
NAMED = (
    (re.compile(r"_*(p_?)?keep(_?(p|prob|rate|ratio))?_*", re.IGNORECASE), 1.0, 0.6),
    (re.compile(rf"_*({FACTOR})_*", re.IGNORECASE), 1.0, 1.25),
    (re.compile(r"_*(tau|alpha|quantiles?|q|level|mix)_*", re.IGNORECASE), 0.5, 0.35),
)
ANY = 0.7  #: tried for a number of 1, whatever it is called
INTEGERS = {0: 1, 1: 2}
AXES = {-1: 0, 0: -1, 1: 0}
AXIS = re.compile(r"_*(axis|dim)_*", re.IGNORECASE)
#: whole numbers that matter though they were left at their default
WINDOW = re.compile(r"_*(dilations?|pad(ding)?|groups?|(n_?|num_?)?heads?)_*", re.IGNORECASE)
#: of rows that are looked up, and of what looks them up: neither says that a row is taken once at most
TABLE = re.compile(
    r"_*(E|[a-z]*emb(ed)?(ding)?s?|wte|wpe|look_?up|vocab(ulary)?|codebook)[_\d]*[a-z]{0,2}\d*", re.IGNORECASE
)
WORDS = re.compile(r"[a-z_]*(ids?|tokens?|words?|chars?|nodes?|users?|items?)_*", re.IGNORECASE)
MASK = re.compile(r"\w*mask\w*|valid", re.IGNORECASE)
WEIGHTS = re.compile(r"_*((sample|class|pos)_?)?weights?_*", re.IGNORECASE)


@dataclass(frozen=True)
class Other:
    """Another value of one setting.

    hides  what the given value hides;  words  the other value in words
    known  whether the name says what it is: it matters to the backward though the output may not show it
    """

    name: str
    value: Any
    hides: str
    words: str
    known: bool = False


def neutral(case: Case, settings: Iterable[tuple[str, Any]], given: Collection[str]) -> Iterator[Other]:
    """Values in place of neutral ones, for one setting the best first.

    settings  the constants, and what the forward was left at its default;  given  the names of the former
    """
    for k, v in settings:
        if isinstance(v, np.ndarray):
            if v.size > 1:
                yield from _arrays(case, k, v)
            continue
        for other, known in _numbers(k, v, given=k in given):
            yield Other(k, other, f"{k} is {v}", f"with {k} = {other}", known)


def _numbers(name: str, v: Any, *, given: bool) -> Iterator[tuple[Any, bool]]:
    if isinstance(v, (float, np.floating)):
        if v == 1:
            yield ANY, False
        for names, hiding, tried in NAMED:
            if v == hiding and names.fullmatch(name):
                yield tried, True
    elif isinstance(v, (int, np.integer)) and not isinstance(v, (bool, np.bool_)):
        values = AXES if AXIS.fullmatch(name) else INTEGERS
        if int(v) in values and (given or WINDOW.fullmatch(name)):
            yield values[int(v)], False


def _arrays(case: Case, name: str, v: Array) -> Iterator[Other]:
    """Whatever is written there is a mask again, or weights, or an index."""
    first = v.flat[0]
    if v.dtype.kind in "bfiu" and first in (0, 1) and np.all(v == first):
        if v.ndim and v.dtype.kind in "fb":
            pattern = (np.arange(v.size) % 3 != 1).reshape(v.shape).astype(v.dtype)
            hides = f"{name} is all {'ones' if first else 'zeros'}"
            yield Other(name, pattern, hides, f"with {name} of ones and zeros")
        if MASK.fullmatch(name):
            flipped = np.array(v)
            flipped[(0,) * (v.ndim - 1) + (-1,)] = not first
            yield Other(
                name, flipped, f"all entries of {name} are {first}", f"with another entry in {name}", known=True
            )
        elif WEIGHTS.fullmatch(name) and v.dtype.kind == "f" and first == 1:
            other = v + np.linspace(-0.3, 0.5, v.size).reshape(v.shape)  # another sum, too
            yield Other(name, other, f"all entries of {name} are 1", f"with other {name}", known=True)
    if v.dtype.kind in "iu" and v.ndim and v.size > 1:
        yield from _indices(case, name, v)


def _indices(case: Case, name: str, v: Array) -> Iterator[Other]:
    if v.ndim == 1 and np.array_equal(v, np.arange(v.size)):
        hides = f"{name} is 0, 1, 2, ...: the identity, as an index"
        yield Other(name, np.roll(v, 1), hides, f"with {name} in another order")
        return
    whole = v.ndim == 1 and np.array_equal(np.sort(v), np.arange(v.size))  # a permutation stays one
    tables = [k for k, p in case.primals.items() if differentiable(p) and p.ndim == 2]
    looked_up = any(PARAMETER.fullmatch(k) or TABLE.fullmatch(k) for k in tables) or (tables and WORDS.fullmatch(name))
    if looked_up and not whole and np.unique(v).size == v.size:
        again = v.copy()
        again.flat[1] = again.flat[0]
        yield Other(name, again, f"{name} is without a repeated index", f"with {name} with a repeated index")
