"""The registry of the corpus: an item is an implementation, a point, and the true verdict."""

from __future__ import annotations

import importlib
import pkgutil
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

ITEMS: dict[str, Item] = {}

#: names that say the same of some bugs: a path taken as constant is both a missing term and detached, and a factor
#: that equals the batch size is both
SYNONYMS = {
    "missing-term": {"detached"},
    "zeroed-entries": {"detached"},
    "scale": {"missing-batch-mean", "double-batch-mean"},
}


def _causes(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names).union(*(SYNONYMS.get(n, ()) for n in names))


@dataclass(frozen=True, kw_only=True)
class Item:
    """One implementation at one point.

    expect   acceptable verdicts; more than one only where honest people would differ
    causes   acceptable causes of a fail; empty: any
    says     a regular expression that the text of the report must match (case ignored)
    twin     of a wrong one: the name of the right one that it differs from
    truth    how the soundness test knows: "fd", "kink", "contract", "reason: ...", or a function
             (primals, upstream) -> {primal: gradient}
    differs  of a wrong twin: "here" (the gradient at the given point), "nearby", "contract", or a reason
    """

    name: str
    expect: tuple[str, ...]
    causes: frozenset[str]
    why: str
    build: Callable[[np.random.Generator], tuple[Any, ...]]
    says: str = ""
    twin: str = ""
    truth: Any = "fd"
    tol: float = 1e-6
    step: float = 1e-3
    differs: str = "here"
    seed_name: str = ""

    @property
    def family(self) -> str:
        return self.name.split(".")[0]

    def make(self) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """(subject, primals, keywords of verify); the same numbers for the right one and its wrong twins."""
        made = self.build(np.random.default_rng(zlib.crc32(self.seed_name.encode())))
        subject, primals, kwargs = made if len(made) == 3 else (*made, {})
        return subject, primals, kwargs

    def judge(self, verdict: str, text: str) -> str:
        """Empty if this is the truth, else what is wrong with it: false alarm, miss, evasion, silent."""
        if verdict not in self.expect:
            if verdict == "error":
                return "error"
            if verdict == "inconclusive":
                return "evasion"
            return "false alarm" if verdict == "fail" else "miss"
        if self.says and not re.search(self.says, text, re.IGNORECASE):
            return "silent"
        return ""


def _family(build: Callable[..., Any]) -> str:
    return build.__module__.rsplit(".", 1)[-1]


def _add(item: Item) -> None:
    if item.name in ITEMS:
        raise ValueError(f"two items are called {item.name!r}")
    if not item.why:
        raise ValueError(f"item {item.name!r} does not say why")
    ITEMS[item.name] = item


def item(
    name: str, expect: str = "pass", causes: tuple[str, ...] = (), why: str = "", **more: Any
) -> Callable[..., Any]:
    """Register a function of ``rng`` that returns (subject, primals) or (subject, primals, keywords of verify)."""

    def register(build: Callable[..., Any]) -> Callable[..., Any]:
        full = f"{_family(build)}.{name}"
        _add(
            Item(
                name=full,
                expect=tuple(expect.split("|")),
                causes=_causes(causes),
                why=why,
                build=build,
                seed_name=full,
                **more,
            )
        )
        return build

    return register


def twins(
    name: str,
    *,
    why: str,
    bugs: dict[str, Any],
    expect: str = "pass",
    says: str = "",
    differs: str = "here",
    **more: Any,
) -> Callable[..., Any]:
    """Register a function of ``(rng, bug)``: the right one (bug "") and a wrong twin for every bug.

    bugs  name -> sentence, or (sentence, acceptable causes), or a dict with keys why, causes, expect, says, differs
    """

    def register(build: Callable[..., Any]) -> Callable[..., Any]:
        full = f"{_family(build)}.{name}"
        _add(
            Item(
                name=full,
                expect=tuple(expect.split("|")),
                causes=frozenset(),
                why=why,
                build=lambda rng: build(rng, ""),
                says=says,
                seed_name=full,
                **more,
            )
        )
        for bug, spec in bugs.items():
            if isinstance(spec, str):
                spec = {"why": spec}
            elif isinstance(spec, tuple):
                spec = {"why": spec[0], "causes": spec[1]}
            _add(
                Item(
                    name=f"{full}~{bug}",
                    expect=tuple(spec.get("expect", "fail").split("|")),
                    causes=_causes(spec.get("causes", ())),
                    why=spec["why"],
                    build=lambda rng, bug=bug: build(rng, bug),
                    says=spec.get("says", ""),
                    twin=full,
                    differs=spec.get("differs", differs),
                    seed_name=full,
                    **more,
                )
            )
        return build

    return register


def load() -> dict[str, Item]:
    """All items by name, family after family."""
    import tests.corpus as package

    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if not module.name.startswith("_"):
            importlib.import_module(f"tests.corpus.{module.name}")
    return dict(ITEMS)
