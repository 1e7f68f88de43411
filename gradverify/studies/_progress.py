"""What a person at a terminal sees while a study runs; nothing where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def watched(items: Sequence[T], said: Callable[[T], str]) -> Iterator[T]:
    """The items, each announced on standard error before it is handed out, if that is a terminal."""
    for i, item in enumerate(items, start=1):
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{i}/{len(items)} {said(item)}")
            sys.stderr.flush()
        yield item
    if sys.stderr.isatty() and items:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
