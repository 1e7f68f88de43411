"""How errors reach the user."""

from __future__ import annotations

import sys


def say(error: BaseException, verbose: bool) -> None:
    """One clear message on stderr; the traceback only when asked for."""
    if verbose:
        import traceback

        traceback.print_exception(error)
    sys.stderr.write(f"gradverify: {error}\n")
