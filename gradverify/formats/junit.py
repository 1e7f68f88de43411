"""For CI servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from gradverify.formats._words import check_name, counts, details
from gradverify.registry import report_format
from gradverify.types import Finding, ReportLike, Verdict

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ELEMENT = {
    Verdict.FAIL: "failure",
    Verdict.ERROR: "error",
    Verdict.INCONCLUSIVE: "skipped",
    Verdict.SKIPPED: "skipped",
}


@report_format("junit", suffix=".xml")
def junit(report: ReportLike) -> Iterator[str]:
    """JUnit XML, one test case per finding; what was not judged is ``skipped`` with its reason, never a pass."""
    n = counts(report.findings)
    seconds = (report.footer or {}).get("seconds", sum(f.seconds for f in report.findings))
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield (
        f'<testsuite name="gradverify" tests="{len(report.findings)}" failures="{n["fail"]}" errors="{n["error"]}" '
        f'skipped="{n["skipped"] + n["inconclusive"]}" time="{float(seconds):.3f}">'
    )
    yield "<properties>"
    for key, value in report.header.items():
        yield f"<property name={attribute(str(key))} value={attribute(str(value))}/>"
    yield "</properties>"
    for f in report.findings:
        yield from test_case(f)
    yield "</testsuite>"


def test_case(f: Finding) -> Iterator[str]:
    """One ``testcase`` element."""
    name = f"{check_name(f)}: {f.of}"
    yield f'<testcase classname={attribute(f"{f.adapter}.{f.case}")} name={attribute(name)} time="{f.seconds:.6f}">'
    if f.verdict in ELEMENT:
        tag = ELEMENT[f.verdict]
        text = "\n".join(f"{label}: {line}" if label else line for label, line in details(f))
        yield f"<{tag} message={attribute(f'{f.verdict}: {f.why}')}>{escape(NOT_XML.sub('?', text))}</{tag}>"
    yield "</testcase>"


def attribute(text: str) -> str:
    """A quoted attribute without the characters that XML 1.0 forbids."""
    return quoteattr(NOT_XML.sub("?", text))
