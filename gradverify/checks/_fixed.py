"""Code that is written for one length: the length stands in it as a number, ``T = 8`` or ``reshape(-1, 4)``.

Such code is right at that length, and a forward that takes another one by accident (broadcasting, a slice, a
transform) proves nothing. Whether a number is the length is not guessed: with the new length in its place everything
must be right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from gradverify.checks._kept import functions
from gradverify.errors import AdapterError
from gradverify.judge import judge
from gradverify.types import Bench, Case, Measurement, Verdict

Lengths = Mapping[int, int]  #: given -> resized
Place = tuple[Callable[[Any], None], Any, Any]  #: how a value is put there, what stands there, and what else might
LITERAL = "a number in"
TRIED = 8  #: names that are tried one by one: two lengths that are the same number need not both be another


def for_given_lengths(bench: Bench, case: Case, measure: Callable[[], Iterator[Measurement]], *, literals: bool) -> str:
    """The numbers in the code that are the lengths of the given case and no others, in words; "" where there are none.

    measure   what fails at the resized case; with the numbers replaced it must not
    literals  whether numbers without a name count: in ``dx / 8`` the 8 is a bug, in ``np.zeros((8, 4))`` it is not
    """
    lengths = _changed(bench.case, case)
    if not lengths:
        return ""
    places: dict[str, list[Place]] = {}
    for said, place in _places(bench.adapter, lengths, literals=literals):
        places.setdefault(said, []).append(place)
    named = [said for said in places if not said.startswith(LITERAL)]
    for attempt in dict.fromkeys([tuple(named), *((said,) for said in named[:TRIED]), tuple(places)]):
        with contextlib.ExitStack() as stack:
            for place in (p for said in attempt for p in places[said]):
                stack.enter_context(_held(place))
            if attempt and _right(measure):
                return ", ".join(attempt)
    return ""


@contextlib.contextmanager
def _held(place: Place) -> Iterator[None]:
    put, before, after = place
    put(after)
    try:
        yield
    finally:
        put(before)


def _right(measure: Callable[[], Iterator[Measurement]]) -> bool:
    try:
        return all(judge(m).verdict is not Verdict.FAIL for m in measure())
    except AdapterError:
        return False


def _changed(given: Case, case: Case) -> dict[int, int]:
    """Which length became which; nothing where one became two others, or one (a length that no number stands for)."""
    found: dict[int, int] = {}
    for before, after in ((given.primals, case.primals), (given.constants, case.constants)):
        for k, v in before.items():
            for n, m in zip(np.shape(v), np.shape(after[k]), strict=False):
                if n != m and (n == 1 or found.setdefault(n, m) != m):
                    return {}
    return found


def _other(value: Any, lengths: Lengths) -> Any:
    """``value`` with the new lengths; the very same object where it holds none."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return type(value)(lengths[int(value)]) if int(value) in lengths else value
    if isinstance(value, (tuple, list)) and 0 < len(value) <= 8:
        new = [_other(v, lengths) for v in value]
        return value if all(a is b for a, b in zip(new, value, strict=True)) else type(value)(new)
    return value


def _places(adapter: Any, lengths: Lengths, *, literals: bool) -> Iterator[tuple[str, Place]]:
    """What the numbers are called, with where they stand; the same name may stand in several functions."""
    for f in functions(adapter):
        yield from _in_function(f, lengths)
        if literals and (code := _rewritten(f.__code__, lengths)) is not f.__code__:
            yield f"{LITERAL} {f.__name__}", (partial(setattr, f, "__code__"), f.__code__, code)
    obj = getattr(getattr(adapter, "_template", None), "obj", None)  # the object that is copied for every run
    for k, v in dict(vars(obj) if hasattr(obj, "__dict__") else {}).items():
        if (new := _other(v, lengths)) is not v:
            yield f"self.{k} = {v}", (partial(vars(obj).__setitem__, k), v, new)


def _in_function(f: FunctionType, lengths: Lengths) -> Iterator[tuple[str, Place]]:
    """Numbers with a name: in closures, globals and defaults."""
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # an empty cell
            v = cell.cell_contents
            if (new := _other(v, lengths)) is not v:
                yield f"{name} = {v}", (partial(setattr, cell, "cell_contents"), v, new)
    for name in _used(f.__code__):
        v = f.__globals__.get(name)
        if (new := _other(v, lengths)) is not v:
            yield f"{name} = {v}", (partial(f.__globals__.__setitem__, name), v, new)
    given = f.__defaults__ or ()
    if (new := tuple(_other(v, lengths) for v in given)) != given:
        yield f"a default of {f.__name__}", (partial(setattr, f, "__defaults__"), given, new)


def _rewritten(code: CodeType, lengths: Lengths) -> CodeType:
    constants = tuple(_rewritten(c, lengths) if isinstance(c, CodeType) else _other(c, lengths) for c in code.co_consts)
    same = all(a is b for a, b in zip(constants, code.co_consts, strict=True))
    return code if same else code.replace(co_consts=constants)


def _used(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for c in code.co_consts:
        if isinstance(c, CodeType):
            yield from _used(c)
