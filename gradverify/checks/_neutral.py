"""Settings that do nothing, and others in their place: a factor of 1, a mask that masks nothing, a level of 1/2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gradverify.types import Array

FACTOR = r"alpha|beta|gamma|delta|tau|temp(erature)?|scale|slope|sigma|margin|omega|(pos_?)?weight|strength"
#: names, the number that hides something, and what is tried for it; an integer of 1 may be a count
SCALARS = (
    (re.compile(r"_*(p_?)?keep(_?(p|prob|rate|ratio))?_*", re.IGNORECASE), 1.0, 0.6),
    (re.compile(rf"_*({FACTOR})_*", re.IGNORECASE), 1.0, 1.25),
    (re.compile(r"_*(tau|alpha|quantiles?|q|level|mix)_*", re.IGNORECASE), 0.5, 0.35),
)
MASK = re.compile(r"\w*mask\w*|valid", re.IGNORECASE)
WEIGHTS = re.compile(r"_*((sample|class|pos)_?)?weights?_*", re.IGNORECASE)


def neutral(settings: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(what the given setting hides, the other setting in words, that setting)."""
    for k, v in settings:
        if isinstance(v, np.ndarray):
            yield from _arrays(k, v)
        elif isinstance(v, float):
            for names, hiding, tried in SCALARS:
                if v == hiding and names.fullmatch(k):
                    yield f"{k} is {v:g}", f"with {k} = {tried:g}", {k: tried}


def _arrays(name: str, v: Array) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if v.size < 2 or v.dtype.kind not in "bfiu" or not np.all(v == v.flat[0]) or v.flat[0] not in (0, 1):
        return
    new = np.array(v)
    if MASK.fullmatch(name):
        at = (0,) * (v.ndim - 1) + (-1,)
        new[at] = not v[at]
        yield f"all entries of {name} are {v.flat[0]}", f"with another entry in {name}", {name: new}
    elif WEIGHTS.fullmatch(name) and v.dtype.kind == "f" and v.flat[0] == 1:
        new += np.linspace(-0.3, 0.5, v.size).reshape(v.shape)  # another sum, too
        yield f"all entries of {name} are 1", f"with other {name}", {name: new}
