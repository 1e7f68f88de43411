"""Tidy tables as CSV and Markdown; every file says the command, the versions and the seed that made it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradverify.errors import UsageError
from gradverify.formats.csv import cell
from gradverify.formats.markdown import escape
from gradverify.report import environment, write_lines

Row = Mapping[str, Any]

#: Of the environment, what a table says of where it was made.
SAID = ("gradverify", "python", "numpy", "torch", "platform", "time")


def header(command: str, seed: int, **more: Any) -> dict[str, Any]:
    """Command, seed, versions and platform, in this order."""
    found = environment()
    return {"command": command, "seed": seed, **{k: found[k] for k in SAID if k in found}, **more}


def folder(out: str) -> Path:
    """``--out`` as a folder. Raises UsageError when a file is in the way."""
    path = Path(out)
    if path.exists() and not path.is_dir():
        raise UsageError(f"--out {out!r} is a file; name a folder, such as reports")
    return path


def write_csv(target: Path, rows: Sequence[Row], head: Mapping[str, Any]) -> Path:
    """One row per line under a line of names; the header is in ``#`` lines before them."""
    write_lines(target, [*(f"# {k}: {v}" for k, v in head.items()), *csv_lines(rows)])
    return target


def csv_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The names of the columns, and the rows; texts that a spreadsheet would run as formulas are disarmed."""
    columns = list(rows[0]) if rows else []
    yield ",".join(columns)
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow(cell(name, _plain(row[name])) for name in columns)
        yield line.getvalue().removesuffix("\r\n")


def write_markdown(target: Path, text: Iterable[str], head: Mapping[str, Any]) -> Path:
    """The text, and the header below it."""
    said = [f"- {k}: {f'`{v}`' if k == 'command' else escape(str(v))}" for k, v in head.items()]
    write_lines(target, [*text, "", *said])
    return target


def markdown_table(rows: Sequence[Row], columns: Mapping[str, str]) -> Iterator[str]:
    """A table of ``columns`` (key of a row -> heading); numbers are right-aligned and shortened."""
    numeric = {k: any(isinstance(r[k], (int, float)) and not isinstance(r[k], bool) for r in rows) for k in columns}
    yield "| " + " | ".join(columns.values()) + " |"
    yield "| " + " | ".join("---:" if numeric[k] else "---" for k in columns) + " |"
    for row in rows:
        yield "| " + " | ".join(escape(short(row[k])) for k in columns) + " |"


def plain_table(rows: Sequence[Row], columns: Mapping[str, str]) -> Iterator[str]:
    """The same for a terminal: columns padded with blanks."""
    cells = [list(columns.values()), *([short(row[k]) for k in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()


def short(value: Any) -> str:
    """A value as a person reads it: three figures, nothing for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        if value == 0 or not math.isfinite(value):
            return f"{value:g}"
        return f"{value:.3g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"
    return str(value)


def _plain(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else value
