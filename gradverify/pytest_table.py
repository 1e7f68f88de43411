"""What the pytest plugin says at the end: a row per verified subject, how many checks judged, and the report file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gradverify.errors import UsageError
from gradverify.formats._plain import decode
from gradverify.formats._words import (
    aligned,
    causes_of,
    counts,
    judged,
    number,
    plural,
    resolution_of,
    verdict_of,
    where,
    worst_first,
)
from gradverify.options import nearest
from gradverify.recording import WAIVERS, live
from gradverify.report import Report
from gradverify.types import Finding, Verdict
from gradverify.waivers import split

if TYPE_CHECKING:
    import pytest

COLUMNS = (
    "verdict",
    "test",
    "subject",
    "judged",
    "gradients",
    "resolution",
    "of",
    "worst",
    "got",
    "want",
    "cause",
    "seconds",
)
DEFAULT = ("verdict", "test", "judged", "gradients", "resolution", "of", "worst", "cause")

BAD = (Verdict.FAIL, Verdict.ERROR)
GOOD = (Verdict.PASS.value, Verdict.SKIPPED.value)

#: Rows in the terminal; the passes beyond are counted, a report file has them all.
MOST_ROWS = 50


class SessionLike(Protocol):
    """What the plugin has gathered."""

    calls: list[dict[str, Any]]
    crashes: list[str]
    unsaved: str


def chosen_columns(text: str) -> list[str]:
    """The columns named in ``a,b,c``, or one a line. Raises UsageError naming the nearest."""
    names = [part.strip() for part in text.replace("\n", ",").split(",") if part.strip()] or list(DEFAULT)
    for name in names:
        if name not in COLUMNS:
            raise UsageError(f"no column is called {name!r}{nearest(name, COLUMNS)} known: {', '.join(COLUMNS)}")
    return names


def row(call: dict[str, Any]) -> dict[str, str]:
    """Every column of one verified subject."""
    findings = [decode(r) for r in call["rows"]]
    worst = worst_first(findings)[0] if findings else None
    shown = worst if worst is not None and worst.verdict is not Verdict.PASS else None
    gradients, resolution = resolution_of(findings)
    return {
        "verdict": _said(verdict_of(findings), findings, call),
        "test": call["test"],
        "subject": worst.adapter if worst else "",
        "judged": str(judged(findings)),
        "gradients": str(gradients),
        "resolution": number(resolution, 1),
        "of": shown.of if shown else "",
        "worst": where(shown) if shown else "",
        "got": number(shown.got) if shown else "",
        "want": number(shown.want) if shown else "",
        "cause": ", ".join(c.name for c in causes_of(findings)),
        "seconds": f"{call['seconds']:.2f}",
    }


def _said(verdict: Verdict, findings: Sequence[Finding], call: dict[str, Any]) -> str:
    """The verdict in view of what became of the test."""
    if call.get("excused") and verdict in BAD:
        return f"{verdict} (expected)"
    only_skipped = all(f.verdict is Verdict.SKIPPED for f in findings)
    return Verdict.SKIPPED.value if call.get("skipped") and only_skipped else verdict.value


def summary(session: SessionLike, config: pytest.Config) -> Iterator[str]:
    """The lines of the terminal section."""
    calls = in_order(session.calls)
    findings = [decode(r) for call in calls for r in call["rows"]]
    if calls:
        columns = chosen_columns(config.getoption("gradverify_columns") or config.getini("gradverify_columns"))
        rows = sorted((row(call) for call in calls), key=lambda r: r["verdict"] in GOOD)
        bad = sum(r["verdict"] not in GOOD for r in rows)
        shown = rows[: max(MOST_ROWS, bad)]
        used = [c for c in columns if c in ("verdict", "test") or any(r[c] for r in shown)]
        yield from aligned([used, *([r[c] for c in used] for r in shown)])
        if len(rows) > len(shown):
            yield f"... and {plural(len(rows) - len(shown), 'more row')} that passed or did not apply"
    n = {word: count for word, count in counts(findings).items() if count}
    tests = plural(len({call["test"] for call in calls}), "test")
    said = ", ".join(f"{count} {word}" for word, count in n.items())
    yield f"{plural(judged(findings), 'check')} judged in {tests}" + (f": {said}" if said else "")
    yield from stale(findings, config)
    for crash in session.crashes:
        yield f"worker {crash}; the rows of the test that it ran are lost"
    if config.getoption("gradverify_report") and not session.unsaved:
        yield f"report: {config.getoption('gradverify_report')}"


def stale(findings: Sequence[Finding], config: pytest.Config) -> Iterator[str]:
    """Waivers that excused nothing in this run."""
    waivers = config.stash.get(WAIVERS, [])
    current = live(waivers)
    used, _, _ = split(findings, current)
    for waiver in waivers:
        if waiver not in current:
            yield f"expired on {waiver.until}: {waiver}"
        elif waiver not in used:
            yield f"stale, it excused nothing in this run: {waiver}{misspelt(waiver.check)}"


def misspelt(pattern: str) -> str:
    """What to say of the check of a waiver that is none; nothing of a pattern."""
    from gradverify import registry

    known = [*registry.check, *registry.invariant]
    if pattern in known or set(pattern) & set("*?["):
        return ""
    return f" (no check is called {pattern!r}{nearest(pattern, known).rstrip(';')})"


def save(session: SessionLike, config: pytest.Config, complete: bool) -> str:
    """Write the report file; says why where it cannot be written.

    All findings in the order of the tests; a dead worker and an interruption are errors of their own.
    """
    calls = in_order(session.calls)
    findings = [_placed(decode(row), call) for call in calls for row in call["rows"]]
    lost = [
        ("pytest-xdist", crash, "worker", "the worker died while it ran a test, whose rows are lost")
        for crash in session.crashes
    ]
    if not complete:
        lost.append(("pytest", "run", "run", "the run was interrupted: what had not run yet is missing"))
    for adapter, case, check, why in lost:
        findings.append(Finding(adapter=adapter, case=case, check=check, of=check, verdict=Verdict.ERROR, why=why))
    report = Report.of(findings, seconds=sum(call["seconds"] for call in calls))
    if not complete:
        report = dataclasses.replace(report, footer={**(report.footer or {}), "complete": False})
    try:
        report.save(config.invocation_params.dir / config.getoption("gradverify_report"))
    except OSError as error:
        return f"gradverify: the report {config.getoption('gradverify_report')} cannot be written: {error}"
    return ""


def _placed(f: Finding, call: dict[str, Any]) -> Finding:
    """A finding that knows its test, and why its fail is none of the run."""
    notes = (f"expected: {call['excused']}",) if call.get("excused") and f.verdict in BAD else ()
    return dataclasses.replace(f, facts={**f.facts, "test": call["test"]}, notes=(*f.notes, *notes))


def in_order(calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By test, whichever worker ran it first; the calls of one test stay in their order."""
    return sorted(calls, key=lambda call: call["test"])
