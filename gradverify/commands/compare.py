"""``gradverify compare OLD NEW``."""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Two reports."""
    parser.add_argument("old", metavar="OLD", help="a .jsonl report")
    parser.add_argument("new", metavar="NEW", help="a later one")


def main(args: argparse.Namespace) -> int:
    """Print what changed; exit status 1 when something got worse."""
    from gradverify.comparison import compare
    from gradverify.report import read

    changes = compare(read(args.old), read(args.new))
    sys.stdout.write(f"{changes}\n")
    return int(changes.worse)
