"""The table of ``gradverify check``: a row per subject, printed as soon as it is known."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gradverify.formats._words import blind_spots, causes_of, number, plural, resolution_of, wanted, where, worst_first
from gradverify.formats.terminal import table
from gradverify.types import Finding, Verdict

if TYPE_CHECKING:
    from gradverify.commands.check import Job
    from gradverify.report import Report

HEAD = ("verdict", "subject", "parameter", "worst at", "got", "want ± oracle error", "right to", "cause")
#: Sentences of one kind below a row; the report has them all.
MOST = 4

WIDTHS = (12, 7, 14, 9, 10, 20, 8)


class Printer:
    """Prints rows with the widths fixed beforehand, because later rows are not known yet."""

    def __init__(self, names: Sequence[str], args: argparse.Namespace) -> None:
        self.args = args
        widest = max((len(name) for name in names), default=0)
        self.widths = (WIDTHS[0], max(WIDTHS[1], widest), *WIDTHS[2:])
        self.started = False

    def line(self, cells: Sequence[str]) -> None:
        padded = [c.ljust(w) for c, w in zip(cells, self.widths, strict=False)] + list(cells[len(self.widths) :])
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
        sys.stdout.flush()

    def row(self, job: Job, report: Report) -> None:
        """One subject; what is not a pass explains itself below its row."""
        if self.args.quiet and report.verdict == Verdict.PASS:
            return
        if not self.started:
            self.line(HEAD)
            self.started = True
        self.line(cells(job.name, report))
        indent = " " * (self.widths[0] + 2)
        sys.stdout.writelines(f"{indent}{text}\n" for text in explained(report))
        if self.args.verbose:
            sys.stdout.writelines(f"{indent}{text}\n" for text in table(report))

    def summary(self, reports: Sequence[Report], whole: Report, asked: int) -> None:
        """``6 subjects: 3 pass, 3 fail (84 checks judged, 2.3 s)``."""
        verdicts = [r.verdict for r in reports]
        said = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(sorted(verdicts, reverse=True)))
        left = f", {asked - len(reports)} not run" if asked > len(reports) else ""
        seconds = float((whole.footer or {}).get("seconds", 0.0))
        judged = plural(whole.judged, "check")
        sys.stdout.write(f"{plural(len(reports), 'subject')}: {said}{left} ({judged} judged, {seconds:.1f} s)\n")


def cells(name: str, report: Report) -> tuple[str, ...]:
    """The row of one subject: of a pass what it is worth, of anything else the finding that shows it best."""
    if report.verdict == Verdict.PASS:
        gradients, resolution = resolution_of(report.findings)
        parameter = plural(gradients, "gradient") if gradients else "no gradient"
        return (report.verdict, name, parameter, "", "", "", number(resolution, 1), "")
    f = telling(report.findings)
    if f is None:
        return (report.verdict, name, "", "", "", "", "", "")
    causes = ", ".join(c.name for c in causes_of(report.findings)[:2])
    return (report.verdict, name, f.of, where(f), number(f.got), wanted(f), "", causes)


def telling(findings: Sequence[Finding]) -> Finding | None:
    """Of the worst verdict, the finding that names a cause and a value, else the first."""
    rows = worst_first(findings)
    worst = [f for f in rows if f.verdict is rows[0].verdict]
    return min(worst, key=lambda f: (not f.causes, f.got is None, not f.oracle), default=None)


def explained(report: Report) -> Iterator[str]:
    """Why it is not a pass, and how to see it again; of a pass, what it could not have seen."""
    if report.verdict == Verdict.PASS:
        yield from (f"cannot tell from a right gradient here: {spot}" for spot in blind_spots(report.findings)[:MOST])
        return
    f = telling(report.findings)
    if f is None:
        yield "nothing was judged"
        return
    for cause in f.causes[:2]:
        yield f"{cause.name}: {cause.evidence}"
        if cause.suggestion:
            yield f"try: {cause.suggestion}"
    if not f.causes:
        yield from f"{f.check}: {f.why}".splitlines()
    others = dict.fromkeys(g.of for g in report.findings if g.verdict is f.verdict and g.of not in ("", f.of))
    if others:
        yield f"also {f.verdict}: {', '.join(list(others)[:MOST])}{' ...' if len(others) > MOST else ''}"
    notes = dict.fromkeys(note for g in report.findings for note in g.notes)
    yield from (f"note: {note}" for note in list(notes)[:MOST])
    yield f"repeat: {f.repeat}"
