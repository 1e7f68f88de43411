"""For Gradescope autograders: the content of ``/autograder/results/results.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from gradverify.formats._words import check_name, details, headline, judged
from gradverify.registry import report_format
from gradverify.types import Finding, ReportLike, Verdict


@report_format("gradescope", suffix=".json")
def gradescope(report: ReportLike) -> Iterator[str]:
    """Gradescope JSON: one point per judged check; errors and what could not be decided earn nothing and say why."""
    rows = [f for f in report.findings if f.verdict is not Verdict.SKIPPED]
    result: dict[str, Any] = {
        "output": headline(report),
        "output_format": "text",  # never html: the text quotes the student's own names and messages
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [test(f) for f in rows],
    }
    if not judged(rows):
        result["score"] = 0.0  # nothing judged is no credit; without tests that score Gradescope wants a number
    yield from json.dumps(result, indent=1, allow_nan=False).splitlines()


def test(f: Finding) -> dict[str, Any]:
    """One entry of ``tests``; only judged checks carry points, except errors, which cost theirs."""
    entry: dict[str, Any] = {
        "name": f"{check_name(f)}: {f.of}",
        "output": "\n".join(f"{label}: {text}" if label else text for label, text in details(f)),
        "output_format": "text",
        "visibility": "visible",
        "tags": [f.adapter, f.case],
    }
    if f.verdict is not Verdict.INCONCLUSIVE:
        passed = f.verdict is Verdict.PASS
        entry |= {"score": float(passed), "max_score": 1.0, "status": "passed" if passed else "failed"}
    return entry
