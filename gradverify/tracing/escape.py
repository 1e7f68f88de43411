"""What happens when a traced value leaves NumPy's dispatch protocols: the trace declines and says where."""

from __future__ import annotations

import functools
import linecache
import sys
from pathlib import Path

from gradverify.errors import Unsupported

INSIDE = ("gradverify.tracing", "numpy", "torch", "scipy")  #: whose frames are not the user's


class Escaped(Unsupported):
    """A traced value left the trace, or a function is not traced; the message names it and the user's line."""


@functools.lru_cache(maxsize=4096)
def is_inside(module: str) -> bool:
    """Does a module of this name belong to the machinery and not to the user?"""
    return any(module == name or module.startswith(name + ".") for name in INSIDE)


def user_line() -> str:
    """`` at user.py:12 (`y = float(x)`)`` for the innermost frame that is the user's, or nothing."""
    frame = sys._getframe(1)
    while frame is not None and is_inside(frame.f_globals.get("__name__", "")):
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return f" at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}" + (f" (`{source}`)" if source else "")
