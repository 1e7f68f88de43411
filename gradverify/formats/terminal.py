"""What ``print(report)`` and a failing test show."""

from __future__ import annotations

from collections.abc import Iterator

from gradverify.formats._words import (
    aligned,
    blind_spots,
    check_name,
    details,
    headline,
    number,
    plural,
    where,
    worst_first,
)
from gradverify.registry import report_format
from gradverify.types import Finding, ReportLike, Verdict

#: Longer tables are cut, worst rows kept: a file holds them all, a screen does not.
MOST_ROWS = 60


@report_format("terminal", suffix=".txt")
def terminal(report: ReportLike) -> Iterator[str]:
    """Plain text: the answer in the first line, then each failure in full, then a compact table of all findings."""
    yield from failure_text(report)
    if report.findings:
        yield ""
        yield from table(report)


def failure_text(report: ReportLike) -> Iterator[str]:
    """The answer, every finding that is not a pass in full, blind spots and notes of the passes; no table."""
    yield headline(report)
    for f in worst_first(report.findings):
        if f.verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
            yield ""
            yield from block(f)
    spots = blind_spots(f for f in report.findings if f.verdict is Verdict.PASS)
    if spots:
        yield ""
        yield "blind spots, which this point cannot tell from a right gradient:"
        yield from (f"  {spot}" for spot in spots)
    notes = dict.fromkeys(note for f in report.findings if f.verdict is Verdict.PASS for note in f.notes)
    if notes:
        yield ""
        yield "notes:"
        yield from (f"  {note}" for note in notes)


def block(f: Finding) -> Iterator[str]:
    """One finding in full: what, where, got, want, budget, cause, repeat."""
    yield f"{f.verdict.upper()}  {check_name(f)}  {f.adapter} / {f.case}"
    for label, text in details(f):
        first, *rest = text.splitlines()
        yield f"  {label}: {first}" if label else f"  {first}"
        yield from (f"    {line}" for line in rest)


def table(report: ReportLike) -> Iterator[str]:
    """One row per finding, worst first; the case is shown where there are several."""
    rows = worst_first(report.findings)
    many = len({(f.adapter, f.case) for f in rows}) > 1
    cells = [("verdict", "check", "of", "compared", "worst at", "gap", "resolution")]
    for f in rows[:MOST_ROWS]:
        of = f"{f.adapter} / {f.case}: {f.of}" if many else f.of
        compared = str(f.n_compared) if f.n_compared else ""
        worst = where(f) if f.verdict is Verdict.FAIL else ""
        cells.append((f.verdict.value, check_name(f), of, compared, worst, number(f.gap, 1), number(f.resolution, 1)))
    yield from aligned(cells, right=frozenset({3, 5, 6}))
    if len(rows) > MOST_ROWS:
        yield f"... and {plural(len(rows) - MOST_ROWS, 'row')} more"
