"""The tree of exceptions.

GradverifyError
├── UsageError        you asked for something that does not exist or does not fit (unknown check, no primals)
├── AdapterError      the implementation cannot be driven: wrong arity, not an array, fewer gradients than primals
│   └── Unsupported   the adapter or oracle says it cannot do this here: a skip with a reason, not a fault
├── MissingExtra      an optional package is needed; the message names the extra to install
├── ReportError       a report that cannot be trusted: empty, duplicate, missing footer
└── GradientFailure   raised by ``Report.raise_for_failures``; also an AssertionError, so pytest shows it plainly

A wrong gradient is none of these: it is a Finding.
"""

from __future__ import annotations

import dis
import importlib
import sys
from types import ModuleType


class GradverifyError(Exception):
    """Base of everything that gradverify raises on purpose."""


class UsageError(GradverifyError, ValueError):
    """The call asks for something that does not exist or does not fit."""


class AdapterError(GradverifyError):
    """The implementation broke the contract of being driven."""


class Unsupported(AdapterError):
    """Cannot be done here; the reason is the message."""


class MissingExtra(GradverifyError, ImportError):
    """An optional package is missing."""


class ReportError(GradverifyError):
    """A report that cannot be trusted."""


class GradientFailure(GradverifyError, AssertionError):
    """At least one finding is a fail, an error, or nothing was judged."""


def need(module: str, extra: str, what: str) -> ModuleType:
    """Import an optional module or say which extra brings it and what for.

    Raises MissingExtra, for example: ``torch is needed for gv.torch_module; pip install 'gradverify[torch]'``.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module} is needed for {what}; install it with: pip install 'gradverify[{extra}]'"
        ) from error


#: whose ``raise`` is no word of the code under test
LIBRARIES = frozenset({"gradverify", "numpy", "torch", "jax", "scipy", *sys.stdlib_module_names})


def refusal(error: BaseException, *, asserts: bool = False) -> str:
    """What the code under test said where it raised on purpose, by a ``raise`` of its own; else nothing.

    asserts  an ``assert`` counts, too. A matrix product that does not fit is no refusal: nobody thought of it.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None or (isinstance(error, AssertionError) and not asserts):
        return ""
    code, module = frame.tb_frame.f_code, str(frame.tb_frame.f_globals.get("__name__", ""))
    if module.partition(".")[0] in LIBRARIES - {"__main__"}:
        return ""
    raised = dis.opname[code.co_code[frame.tb_lasti]] == "RAISE_VARARGS"
    return f"{type(error).__name__}: {error}".rstrip(": ") if raised else ""
