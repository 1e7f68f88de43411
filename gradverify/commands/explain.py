"""``gradverify explain NAME``."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from gradverify.commands._examples import CAUSES, MUTANTS, ORACLES
from gradverify.commands._kinds import KINDS, registry_of
from gradverify.errors import UsageError
from gradverify.options import nearest

#: keys of what is registered, in words
WORDS = {
    "applies": "applies where",
    "catches": "causes that it may show",
    "causes": "cause",
    "elsewhere": "judged at another point than the given one",
    "raises": "cause when the implementation raises here",
    "requires": "asked only after these pass",
}

VERDICTS = {
    "pass": """Got and want agree within the oracle's error and the implementation's own rounding. The resolution is
the smallest relative error that this run would have seen.""",
    "fail": """Got and want differ by more than the oracle's error and the implementation's own rounding can explain.
The row names the parameter, the worst entry, both values, the likely cause, and the command that repeats it.""",
    "inconclusive": """The oracle could not decide. Usually the point is at a kink, or the function is too noisy. Move
the point, name an oracle that applies there (gradverify list oracles), or state a tolerance.""",
    "skipped": "Not asked, with the reason: the check does not apply here, or one that it rests on has failed.",
    "error": """The implementation could not be driven: it raised, took other arguments, or returned no array. Nothing
is said about its gradient.""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One name."""
    parser.add_argument("name", metavar="NAME", help="a check, cause, oracle, ..., or a verdict")


def main(args: argparse.Namespace) -> int:
    """Everything that goes by this name. Raises UsageError naming the nearest."""
    found = [line for kind in KINDS for line in _entry(kind, args.name)]
    if args.name in VERDICTS:
        found += [f"{args.name} (verdict)", "", *VERDICTS[args.name].splitlines(), ""]
    if not found:
        names = [*VERDICTS, *(name for kind in KINDS for name in registry_of(kind))]
        raise UsageError(f"nothing is called {args.name!r}{nearest(args.name, names)} see: gradverify list")
    sys.stdout.write("\n".join(found).rstrip() + "\n")
    return 0


def _entry(kind: str, name: str) -> Iterator[str]:
    """Heading, docstring, where it is written, and what catches what."""
    registry = registry_of(kind)
    if name not in list(registry):
        return
    entry = registry[name]
    yield f"{name} ({kind})"
    yield ""
    yield from inspect.cleandoc(entry.item.__doc__).splitlines()
    yield ""
    yield from _example(kind, entry)
    for key, value in sorted(entry.meta.items()):
        if value not in (None, "", (), False):
            yield f"{WORDS.get(key, key.replace('_', ' '))}: {_text(value)}"
    yield from _planted(kind, name)
    source = inspect.getsourcefile(
        entry.item if inspect.isroutine(entry.item) or inspect.isclass(entry.item) else type(entry.item)
    )
    if source:
        yield f"written in {source}"
    yield ""


def _example(kind: str, entry: Any) -> Iterator[str]:
    """Right and wrong for what cannot show them in its docstring; those of checks and invariants stand there."""
    if kind == "mutant":
        example = MUTANTS.get(entry.name) or CAUSES.get(str(entry.meta.get("causes", "")))
    else:
        example = {"cause": CAUSES, "oracle": ORACLES}.get(kind, {}).get(entry.name)
    if example is not None:
        right, wrong = ("Answers:", "Declines:") if kind == "oracle" else ("Right:", "Wrong:")
        yield f"{right} {example[0]}"
        yield f"{wrong} {example[1]}"
        yield ""


def _planted(kind: str, name: str) -> Iterator[str]:
    """The planted bugs that belong to a check, an invariant or a cause, and the checks that a cause stands behind."""
    key = {"check": "caught_by", "invariant": "caught_by", "cause": "causes"}.get(kind)
    mutants = [m.name for m in registry_of("mutant").entries() if key and name in _names(m.meta.get(key))]
    if mutants:
        yield f"planted bugs {'with this cause' if kind == 'cause' else 'that it catches'}: {', '.join(mutants)}"
    if kind == "cause":
        checks = [c.name for c in registry_of("check").entries() if name in _names(c.meta.get("catches"))]
        if checks:
            yield f"checks that see it: {', '.join(checks)}"


def _names(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _text(value: Any) -> str:
    """A value in plain words; of a function its own first sentence."""
    if callable(value):
        said = inspect.getdoc(value) or value.__name__.strip("_").replace("_", " ")
        return said.splitlines()[0].rstrip(".")
    if value is True:
        return "yes"
    return ", ".join(dict.fromkeys(map(str, value))) if isinstance(value, (tuple, list, set, frozenset)) else str(value)
