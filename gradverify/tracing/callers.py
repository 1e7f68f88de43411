"""Did the user's Python code call this function itself, or compiled code on its behalf?

Compiled extensions (numpy.random among them) look functions up in numpy's namespace and read the memory of what they
get. They have no Python frame, so a replaced ``np.empty`` would take them for the user. Whether the expression that is
being called in the user's frame is the function's own name is written in the byte code's positions (PEP 657).
"""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

LOADS = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_DEREF", "LOAD_CLOSURE",
         "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_FAST_AND_CLEAR", "LOAD_CLASSDEREF"}  # fmt: skip


def calls_itself(frame: FrameType, name: str, function: Any) -> bool:
    """Whether the call under way in ``frame`` is of ``function``, by its ``name`` or an alias of the frame."""
    called = _callee(frame.f_code, frame.f_lasti)
    if called is None:
        return False
    if called == name:
        return True
    found = frame.f_locals.get(called, frame.f_globals.get(called))
    return found is function or getattr(found, "__wrapped__", None) is getattr(function, "__wrapped__", function)


@lru_cache(maxsize=4096)
def _callee(code: CodeType, at: int) -> str | None:
    """The last name of the expression that the instruction at ``at`` calls: ``zeros`` in ``np.zeros(3)``."""
    positions = list(code.co_positions())
    if at // 2 >= len(positions):
        return None
    line, _, column, _ = positions[at // 2]
    if line is None or column is None:
        return None
    names = [
        (end_line, end_column, str(i.argval))
        for i in dis.get_instructions(code)
        if i.opname in LOADS and i.offset < at and i.positions is not None
        and (i.positions.lineno, i.positions.col_offset) == (line, column)
        and (end_line := i.positions.end_lineno) is not None and (end_column := i.positions.end_col_offset) is not None
    ]  # fmt: skip
    return max(names)[2] if names else None
