"""What is found on an object: its parameters with the places of their gradients, and what a trial run showed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradverify.adapters._optimizer import Recorder
from gradverify.adapters._store import Path, same
from gradverify.types import Array


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One array on the object. ``source``: "attribute", "returned", "recorded", "updated" (in place), or "none"."""

    name: str
    paths: tuple[Path, ...]  #: all the places where this very array hangs
    source: str
    gradient: tuple[Path, ...] = ()  #: where it is left; several for an array shared by several layers: their sum
    key: Any = None  #: the place in what backward returned: a key, or an index into its leaves
    compute: Callable[[Any], Any] | None = None  #: given by the user: object -> gradient


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All parameters, and how many leaves of the returned value belong to the inputs."""

    parameters: tuple[Parameter, ...] = ()
    input_places: tuple[str, ...] = ()  #: attributes that may hold the gradient of the only input

    def named(self) -> dict[str, Parameter]:
        return {p.name: p for p in self.parameters}

    def uses(self, source: str) -> bool:
        return any(p.source == source for p in self.parameters)


@dataclass(kw_only=True)
class Trial:
    """What one run on a copy showed."""

    before: dict[Path, Any]
    values: dict[Path, Array]
    middle: dict[Path, Any] = field(default_factory=dict)
    middle_values: dict[Path, Array] = field(default_factory=dict)
    after: dict[Path, Any] = field(default_factory=dict)
    after_values: dict[Path, Array] = field(default_factory=dict)
    result: Any = None
    recorder: Recorder | None = None
    root: Any = None
    settings: dict[str, Any] = field(default_factory=dict)  #: with which backward ran its own forward
    doubled: set[Path] = field(default_factory=set)  #: what a second backward added up with the first

    @staticmethod
    def copies(table: Mapping[Path, Any]) -> dict[Path, Array]:
        return {p: np.array(v) for p, v in table.items()}

    def stable(self) -> dict[Path, Any]:
        """What the forward left alone: parameters are among these, cached activations are not."""
        kept = {}
        for p, v in self.before.items():
            now = self.middle.get(p)
            untouched = now is v if isinstance(v, np.ndarray) else type(now) is type(v)
            if untouched and same(self.middle_values[p], self.values[p]):
                kept[p] = v
        return kept

    def changed(self, path: Path) -> bool:
        """Whether the backward replaced or overwrote what is there."""
        then, now = self.middle.get(path), self.after.get(path)
        if now is None or then is None:
            return now is not None
        return now is not then or not same(self.after_values[path], self.middle_values[path])
