"""Looking cases up by the op that they are points of."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.errors import UsageError
from gradverify.types import Case, rng_for

#: What a tag says of a point.
TAGS = {
    "edge": "a degenerate shape or setting: one sample, one class, a stride that does not divide, an unused row",
    "kink": "at a point where the one-sided derivatives differ: any value between them is right",
    "saturated": "where the derivative is nearly 0",
    "large": "entries of size 1e4, which only a stable formula survives",
    "unstable": "an op that is naive on purpose: not expected to survive large entries",
}


def cases_of(op: str, rng: np.random.Generator | None = None, *, without: Collection[str] = ()) -> list[Case]:
    """The cases of one op of the catalogue, in the order of its family.

    op       a name of ``reference_impl.OPS``, such as "relu" or "conv2d"
    rng      where the points are drawn from; default: the same points every time
    without  tags of the cases to leave out
    Raises UsageError for an op or a tag that the catalogue does not have, naming the nearest.
    """
    for tag in without:
        _known("tag", tag, TAGS)
    found: dict[str, list[Case]] = {}
    for case in _all(rng):
        found.setdefault(case.op, []).append(case)
    return [case for case in found[_known("op", op, found)] if not case.tags & set(without)]


def ops() -> list[str]:
    """The names of all ops that have cases, sorted."""
    return sorted({case.op for case in _all(None)})


def _all(rng: np.random.Generator | None) -> Iterator[Case]:
    for entry in registry.case_family.entries():
        yield from entry.item(rng if rng is not None else rng_for(0, "cases", entry.name))


def _known(kind: str, name: str, known: Collection[str]) -> str:
    if name in known:
        return name
    close = get_close_matches(name, list(known), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UsageError(f"the catalogue has no {kind} called {name!r}{hint} Known: {', '.join(sorted(known))}")


def point(op: str, said: str, tags: str = "", constants: dict[str, Any] | None = None, **primals: Any) -> Case:
    """A case called ``op/said`` with its tags as words."""
    return Case(name=f"{op}/{said}", op=op, primals=primals, constants=constants or {}, tags=frozenset(tags.split()))
