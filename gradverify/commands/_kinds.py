"""The kinds of registered things, as the user types them."""

from __future__ import annotations

import argparse
from typing import Any

from gradverify.options import nearest

#: kind -> the attribute of ``gradverify.registry``
KINDS = {
    "adapter": "adapter",
    "oracle": "oracle",
    "check": "check",
    "invariant": "invariant",
    "mutant": "mutant",
    "cause": "cause",
    "case": "case_family",
    "format": "report_format",
}


def kind_of(text: str) -> str:
    """An argparse type: a kind in the singular or the plural."""
    kind = text.removesuffix("s")
    if kind in KINDS:
        return kind
    raise argparse.ArgumentTypeError(f"no kind is called {text!r}{nearest(text, KINDS)} known: {', '.join(KINDS)}")


def registry_of(kind: str) -> Any:
    """The registry of a kind; imports NumPy."""
    from gradverify import registry

    return getattr(registry, KINDS[kind])
