"""gradverify: is the gradient right, how sure are we, where is it wrong, and why.

The public names are loaded when they are first used: importing gradverify loads no framework and no pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradverify import strategies
    from gradverify.adapters._adapt import adapt
    from gradverify.adapters.functions import Functions as functions
    from gradverify.adapters.layer import Layer as layer
    from gradverify.adapters.tape import Tape as tape
    from gradverify.adapters.torch_function import TorchFunction as torch_function
    from gradverify.adapters.torch_module import TorchModule as torch_module
    from gradverify.adapters.value_and_grad import ValueAndGrad as value_and_grad
    from gradverify.api import verify
    from gradverify.conformance import check_invariants
    from gradverify.errors import (
        AdapterError,
        GradientFailure,
        GradverifyError,
        MissingExtra,
        ReportError,
        Unsupported,
        UsageError,
    )
    from gradverify.parametrize import parametrize_with_checks
    from gradverify.report import Report, read
    from gradverify.subjects import subject
    from gradverify.types import Case, Cause, Estimate, Finding, Measurement, Verdict

__version__ = "0.1.0"

_WHERE = {
    "adapt": "adapters._adapt",
    "functions": "adapters.functions:Functions",
    "value_and_grad": "adapters.value_and_grad:ValueAndGrad",
    "layer": "adapters.layer:Layer",
    "torch_function": "adapters.torch_function:TorchFunction",
    "torch_module": "adapters.torch_module:TorchModule",
    "reference": "adapters.reference:Reference",
    "jax_function": "adapters.jax_function:JaxFunction",
    "process": "adapters.process:Process",
    "tape": "adapters.tape:Tape",
    "verify": "api",
    "subject": "subjects",
    "parametrize_with_checks": "parametrize",
    "Report": "report",
    "read": "report",
    "check_invariants": "conformance",
    "strategies": "strategies:*",
    **dict.fromkeys(("Case", "Cause", "Estimate", "Finding", "Measurement", "Verdict"), "types"),
    **dict.fromkeys(
        (
            "AdapterError",
            "GradientFailure",
            "GradverifyError",
            "MissingExtra",
            "ReportError",
            "Unsupported",
            "UsageError",
        ),
        "errors",
    ),
}

__all__ = [*sorted(_WHERE), "__version__"]  # noqa: PLE0604  (names of strings; the list is built from the table above)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'gradverify' has no attribute {name!r}; it has {', '.join(sorted(_WHERE))}")
    module, _, attribute = _WHERE[name].partition(":")
    found = importlib.import_module(f"gradverify.{module}")
    value = found if attribute == "*" else getattr(found, attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
