"""``gradverify new KIND NAME``: a working skeleton with its test."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
import sys
from importlib import resources
from pathlib import Path

from gradverify.commands._kinds import KINDS, kind_of, registry_of
from gradverify.errors import UsageError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A kind and a name."""
    parser.add_argument("kind", type=kind_of, metavar="KIND", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("name", metavar="NAME", help="lower case with dashes, such as bias-is-sum-of-deltas")
    parser.add_argument("--out", default=".", metavar="DIR", help="the folder to write into (default: here)")


def main(args: argparse.Namespace) -> int:
    """Write NAME.py and test_NAME.py. Raises UsageError for a taken or malformed name and for files that exist."""
    module = args.name.replace("-", "_")
    if not NAME.fullmatch(args.name) or keyword.iskeyword(module) or module.startswith("test_"):
        why = (
            "a word of Python"
            if keyword.iskeyword(module)
            else "what tests are called"
            if NAME.fullmatch(args.name)
            else ""
        )
        raise UsageError(
            f"{args.name!r} is {why or 'no name'}; names are lower case with dashes, such as bias-is-sum-of-deltas"
        )
    if args.name in list(registry_of(args.kind)):
        raise UsageError(f"the {args.kind} {args.name!r} is there already; see: gradverify explain {args.name}")
    if _elsewhere(module, Path(args.out)):
        raise UsageError(f"there is a module {module} already, which {module}.py would hide; choose another name")
    folder = Path(args.out)
    files = {folder / f"{module}.py": f"{args.kind}.py.txt", folder / f"test_{module}.py": f"{args.kind}_test.py.txt"}
    for path in files:
        if path.exists():
            raise UsageError(f"{path} exists; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    for path, template in files.items():
        path.write_text(filled(template, args.name), encoding="utf-8")
        sys.stdout.write(f"{path}\n")
    sys.stdout.write(
        f"run its test:       python -m pytest {folder / f'test_{module}.py'}\n"
        f'let others have it: [project.entry-points."gradverify.{args.kind}s"] {module} = "your_package.{module}"\n'
    )
    return 0


def _elsewhere(module: str, folder: Path) -> bool:
    """Whether the name is that of an installed module."""
    spec = importlib.util.find_spec(module)
    return spec is not None and (spec.origin is None or Path(spec.origin).resolve().parent != folder.resolve())


def filled(template: str, name: str) -> str:
    """A skeleton with the name in its three spellings put in."""
    text = (resources.files("gradverify.commands") / "skeletons" / template).read_text(encoding="utf-8")
    module = name.replace("-", "_")
    title = "".join(part.capitalize() for part in name.split("-"))
    return text.replace("@name@", name).replace("@module@", module).replace("@Class@", title)
