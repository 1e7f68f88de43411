"""What raised, without the frames of the tools between the user and his own code."""

from __future__ import annotations

import traceback
from pathlib import Path

#: Where a traceback is not the user's: this package, what runs tests, what imports modules.
TOOLS = ("gradverify", "_pytest", "pluggy", "importlib")


def own_part(error: BaseException) -> str:
    """The traceback from the user's first frame on, as Python prints it; the last frame where none is his own."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [i for i, frame in enumerate(frames) if not _a_tool(frame.filename)]
    shown = frames[own[0] :] if own else [] if isinstance(error, SyntaxError) else frames[-1:]
    lines = [*traceback.format_list(shown), *traceback.format_exception_only(error)]
    return "".join(lines).rstrip()


def _a_tool(filename: str) -> bool:
    return filename.startswith("<frozen") or any(part in TOOLS for part in Path(filename).parts[-4:-1])
