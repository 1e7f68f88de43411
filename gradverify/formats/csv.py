"""For spreadsheets."""

from __future__ import annotations

import csv as writer
import io
import json
from collections.abc import Iterator
from typing import Any

from gradverify.formats._plain import FIELDS, FLOATS, encode
from gradverify.registry import report_format
from gradverify.types import ReportLike

#: A spreadsheet runs a text cell that begins with one of these as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@report_format("csv", suffix=".csv")
def csv(report: ReportLike) -> Iterator[str]:
    """One row per finding, one column per field; texts that a spreadsheet would run as formulas are disarmed."""
    yield ",".join(FIELDS)
    for f in report.findings:
        row = encode(f)
        row["causes"] = "; ".join(c.name for c in f.causes)
        row["index"] = "" if f.index is None else json.dumps(list(f.index))
        row["notes"], row["blind_spots"] = "; ".join(f.notes), "; ".join(f.blind_spots)
        row["facts"] = json.dumps(row["facts"]) if f.facts else ""
        line = io.StringIO()
        writer.writer(line).writerow(cell(name, row[name]) for name in FIELDS)
        # the writer's own line end, so that it quotes cells with line breaks; the format's lines have none
        yield line.getvalue().removesuffix("\r\n")


def cell(name: str, value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and name not in FLOATS and value.startswith(FORMULA):
        return "'" + value
    return value
