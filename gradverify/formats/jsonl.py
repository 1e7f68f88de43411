"""The canonical report: every other format can be rendered from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gradverify.formats._plain import encode, pack, plain
from gradverify.registry import report_format
from gradverify.types import ReportLike

SCHEMA_VERSION = 1


@report_format("jsonl", suffix=".jsonl")
def jsonl(report: ReportLike) -> Iterator[str]:
    """One JSON object per line: a header, the findings, and a footer without which the report is incomplete."""
    yield _line({"kind": "header", "schema_version": SCHEMA_VERSION, "header": pack(plain(report.header))})
    for f in report.findings:
        yield _line({"kind": "finding", **encode(f)})
    if report.footer is not None:
        yield _line({"kind": "footer", "footer": pack(plain(report.footer))})


def _line(row: dict[str, Any]) -> str:
    # ASCII only: no encoding and no Unicode line separator can then tear a line
    return json.dumps(row, allow_nan=False)
