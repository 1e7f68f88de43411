"""For pull requests and GITHUB_STEP_SUMMARY."""

from __future__ import annotations

from collections.abc import Iterator

from gradverify.formats._words import check_name, details, headline, number, plural, wanted, where, worst_first
from gradverify.registry import report_format
from gradverify.types import Finding, ReportLike, Verdict

#: GitHub drops a step summary of more than 1 MiB, all of it.
MOST_BYTES = 900_000


@report_format("markdown", suffix=".md")
def markdown(report: ReportLike) -> Iterator[str]:
    """A GitHub table, one row per finding, worst first, after the answer and the failures."""
    yield f"**{escape(headline(report))}**"
    yield ""
    for f in worst_first(report.findings):
        if f.verdict in (Verdict.FAIL, Verdict.ERROR):
            yield f"- **{f.verdict}** {escape(check_name(f))} of {escape(f.adapter)} / {escape(f.case)}"
            yield from (f"  - {label + ': ' if label else ''}{escape(text)}" for label, text in details(f))
    yield ""
    yield "| verdict | adapter | case | check | of | worst at | got | want | gap | resolution | cause |"
    yield "| --- | --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | --- |"
    left, rows = MOST_BYTES, worst_first(report.findings)
    for i, f in enumerate(rows):
        line = row(f)
        left -= len(line.encode()) + 1
        if left < 0:
            yield ""
            yield f"{plural(len(rows) - i, 'more row')} left out: see the JSONL report."
            break
        yield line
    yield ""
    yield "; ".join(f"{escape(str(k))} {escape(str(v))}" for k, v in report.header.items())


def row(f: Finding) -> str:
    """One row of the table."""
    causes = ", ".join(c.name for c in f.causes)
    words = (f.verdict.value, f.adapter, f.case, check_name(f), f.of, where(f))
    figures = (number(f.got), wanted(f), number(f.gap, 1), number(f.resolution, 1))
    return "| " + " | ".join(escape(c) for c in (*words, *figures, causes)) + " |"


def escape(text: str) -> str:
    """Text that stays in its cell and starts no markup."""
    flat = " ".join(text.split())
    for sign in "\\`*_[]|":
        flat = flat.replace(sign, "\\" + sign)
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
