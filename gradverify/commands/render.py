"""``gradverify render REPORT --to FORMAT``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A report and a format."""
    parser.add_argument("report", metavar="REPORT", help="a .jsonl report")
    parser.add_argument("--to", required=True, metavar="FORMAT", help="see: gradverify list formats")
    parser.add_argument("--out", metavar="DIR", help="write DIR/<name of the report>.<suffix> instead of printing")


def main(args: argparse.Namespace) -> int:
    """Print or write the report. Raises UsageError for an unknown format, ReportError for an incomplete report."""
    from gradverify.registry import report_format
    from gradverify.report import read, write_lines

    entry = report_format[args.to]
    report = read(args.report)
    if args.out is None:
        sys.stdout.writelines(line + "\n" for line in entry.item(report))
        return 0
    target = Path(args.out) / (Path(args.report).stem + entry.meta["suffix"])
    write_lines(target, entry.item(report))
    sys.stdout.write(f"{target}\n")
    return 0
