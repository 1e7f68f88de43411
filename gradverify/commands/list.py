"""``gradverify list [KIND]``."""

from __future__ import annotations

import argparse
import sys

from gradverify.commands._kinds import KINDS, kind_of, registry_of
from gradverify.formats._words import aligned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One optional kind."""
    parser.add_argument("kind", nargs="?", type=kind_of, metavar="KIND", help=f"one of {', '.join(KINDS)}")


def main(args: argparse.Namespace) -> int:
    """Names with the first line of their docstrings; without a kind, all of them under headings."""
    for kind in (args.kind,) if args.kind else KINDS:
        rows = [(entry.name, entry.summary) for entry in registry_of(kind).entries()]
        if not args.kind:
            sys.stdout.write(f"{kind}s\n")
        indent = "" if args.kind else "  "
        sys.stdout.writelines(f"{indent}{line}\n" for line in aligned(rows))
    return 0
