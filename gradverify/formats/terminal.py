"""What ``print(report)`` and a failing test show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
    """One finding in full: what, where, got, want, budget, cause, repeat. Code stands at the margin, to be copied."""
    yield f"{f.verdict.upper()}  {check_name(f)}  {f.adapter} / {f.case}"
    for label, text in details(f):
        first, *rest = text.splitlines()
        yield f"  {label}: {first}" if label else f"  {first}"
        indent = "" if first.endswith("as code:") else "    "
        yield from (indent + line for line in rest)


def table(report: ReportLike) -> Iterator[str]:
    """What was asked, worst first: a row per finding, one per check for the passes that needed no oracle."""
    rows = worst_first(report.findings)
    many = len({(f.adapter, f.case) for f in rows}) > 1
    shown = [f for f in rows if f.verdict is not Verdict.SKIPPED and (f.oracle or f.verdict is not Verdict.PASS)]
    cells = [("verdict", "check", "of", "compared", "worst at", "gap", "resolution")]
    for f in shown[:MOST_ROWS]:
        of = f"{f.adapter} / {f.case}: {f.of}" if many else f.of
        worst = where(f) if f.verdict is Verdict.FAIL else ""
        figures = (str(f.n_compared or ""), worst, number(f.gap, 1), number(f.resolution, 1))
        cells.append((f.verdict.value, check_name(f), of, *figures))
    for check, passes in _grouped((f for f in rows if f.verdict is Verdict.PASS and not f.oracle), "check").items():
        of = passes[0].of if len(passes) == 1 else f"{len(passes)} comparisons"
        widest = max((f.resolution for f in passes if f.resolution is not None), default=None)
        largest = max((f.gap for f in passes if f.gap is not None), default=None)
        compared = str(sum(f.n_compared for f in passes))
        cells.append((Verdict.PASS.value, check, of, compared, "", number(largest, 1), number(widest, 1)))
    yield from aligned(cells, right=frozenset({3, 5, 6}))
    if len(shown) > MOST_ROWS:
        yield f"... and {plural(len(shown) - MOST_ROWS, 'row')} more"
    for why, skipped in _grouped((f for f in rows if f.verdict is Verdict.SKIPPED), "why").items():
        yield f"not asked: {', '.join(dict.fromkeys(f.check for f in skipped))} ({why})"


def _grouped(findings: Iterable[Finding], field: str) -> dict[str, list[Finding]]:
    groups: dict[str, list[Finding]] = {}
    for f in findings:
        groups.setdefault(getattr(f, field), []).append(f)
    return groups
