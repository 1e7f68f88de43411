"""One small class: a folder of modules that register themselves by being imported.

Third parties add entries through the entry-point group ``gradverify.<kind>s``; each entry point names a module
(or object) whose import registers.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import metadata
from typing import Any, Generic, TypeVar

from gradverify.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered item with its one-line description and metadata."""

    name: str
    item: T
    summary: str
    meta: dict[str, Any]


class Registry(Generic[T]):
    """Names -> entries, filled by importing every module of ``package`` on first use."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self.package = package
        self._entries: dict[str, Entry[T]] = {}
        self._loaded = False

    def __call__(self, name: str, /, **meta: Any) -> Callable[[T], T]:
        """Decorator: register under ``name``. Raises ValueError for a second use or a missing docstring."""

        def register(item: T) -> T:
            if name in self._entries:
                raise ValueError(f"two {self.kind}s are called {name!r}: {self._entries[name].item!r} and {item!r}")
            doc = (item.__doc__ or "").strip()
            if not doc:
                raise ValueError(f"{self.kind} {name!r} has no docstring; its first line is its row in every table")
            self._entries[name] = Entry(name, item, doc.splitlines()[0], meta)
            return item

        return register

    def load(self) -> None:
        """Import every public module of the folder and every entry point, once."""
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.package)
        for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda i: i.name):
            if not info.name.startswith("_"):
                importlib.import_module(f"{self.package}.{info.name}")
        for point in metadata.entry_points(group=f"gradverify.{self.kind}s"):
            point.load()

    def __getitem__(self, name: str) -> Entry[T]:
        """The entry, or UsageError naming the nearest one."""
        self.load()
        try:
            return self._entries[name]
        except KeyError:
            close = get_close_matches(name, self._entries, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            known = ", ".join(sorted(self._entries))
            raise UsageError(f"no {self.kind} is called {name!r}{hint} Known: {known}") from None

    def __iter__(self) -> Iterator[str]:
        self.load()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self.load()
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def entries(self) -> list[Entry[T]]:
        """All entries, by name."""
        return [self[name] for name in self]


adapter: Registry[Any] = Registry("adapter", "gradverify.adapters")
oracle: Registry[Any] = Registry("oracle", "gradverify.oracles")
check: Registry[Any] = Registry("check", "gradverify.checks")
invariant: Registry[Any] = Registry("invariant", "gradverify.invariants")
mutant: Registry[Any] = Registry("mutant", "gradverify.mutants")
cause: Registry[Any] = Registry("cause", "gradverify.causes")
case_family: Registry[Any] = Registry("case", "gradverify.cases")
report_format: Registry[Any] = Registry("format", "gradverify.formats")
