"""For people: one file that opens anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from gradverify.formats._words import (
    blind_spots,
    check_name,
    counts,
    details,
    headline,
    number,
    verdict_of,
    wanted,
    where,
    worst_first,
)
from gradverify.registry import report_format
from gradverify.types import Finding, ReportLike, Verdict

STYLE = """
.gradverify { color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif; --line: #8886; }
.gradverify h1 { font-size: 1.25em; margin: .4em 0; }
.gradverify table { border-collapse: collapse; margin: 1em 0; }
.gradverify th, .gradverify td { border-bottom: 1px solid var(--line); padding: .2em .7em; text-align: left; }
.gradverify td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.gradverify .v { font-weight: 600; border-left: .4em solid; padding-left: .4em; }
.gradverify .pass { color: #18794e; } .gradverify .fail { color: #cd2b31; } .gradverify .error { color: #a33fc4; }
.gradverify .inconclusive { color: #946800; } .gradverify .skipped { color: #687076; }
.gradverify details { margin: .5em 0; border-left: 3px solid var(--line); padding-left: .8em; }
.gradverify pre { white-space: pre-wrap; margin: .3em 0; }
@media (prefers-color-scheme: dark) {
  .gradverify .pass { color: #4cc38a; } .gradverify .fail { color: #ff6369; } .gradverify .error { color: #d19dff; }
  .gradverify .inconclusive { color: #f1a10d; } .gradverify .skipped { color: #9ba1a6; }
}
@media print { .gradverify details > * { display: block; } }
"""

COLUMNS = (
    "verdict",
    "adapter",
    "case",
    "check",
    "of",
    "compared",
    "worst at",
    "got",
    "want",
    "gap",
    "resolution",
    "cause",
)


@report_format("html", suffix=".html")
def html(report: ReportLike) -> Iterator[str]:
    """One self-contained page: no script, no address outside the file, readable in the dark and without colours."""
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>gradverify: {verdict_of(report.findings)}</title>\n</head>\n<body>"
    yield from fragment(report)
    yield "</body>\n</html>"


def fragment(report: ReportLike) -> Iterator[str]:
    """The page without its frame, its style bound to its own class: what a notebook shows."""
    yield f'<div class="gradverify">\n<style>{STYLE}</style>'
    verdict = verdict_of(report.findings)
    yield f'<h1><span class="v {verdict}">{verdict}</span>{escape(headline(report).removeprefix(verdict))}</h1>'
    yield f"<p>{escape(', '.join(f'{n} {word}' for word, n in counts(report.findings).items() if n))}</p>"
    rows = worst_first(report.findings)
    for f in rows:
        if f.verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
            yield from unfolded(f)
    spots = blind_spots(f for f in rows if f.verdict is Verdict.PASS)
    if spots:
        yield "<p>Blind spots, which this point cannot tell from a right gradient:</p><ul>"
        yield from (f"<li>{escape(spot)}</li>" for spot in spots)
        yield "</ul>"
    yield f"<table>\n<thead><tr>{''.join(f'<th scope=col>{c}</th>' for c in COLUMNS)}</tr></thead>\n<tbody>"
    yield from (row(f) for f in rows)
    yield "</tbody>\n</table>\n<table>\n<tbody>"
    for key, value in report.header.items():
        yield f"<tr><th scope=row>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>"
    yield "</tbody>\n</table>\n</div>"


def unfolded(f: Finding) -> Iterator[str]:
    """One finding that is not a pass, in full; fails are open, the rest one click away."""
    is_open = " open" if f.verdict is Verdict.FAIL else ""
    title = escape(f"{check_name(f)} of {f.adapter} / {f.case}")
    yield f'<details{is_open}><summary><span class="v {f.verdict}">{f.verdict}</span> {title}</summary>'
    for label, text in details(f):
        yield f"<pre>{escape(f'{label}: {text}' if label else text)}</pre>"
    yield "</details>"


def row(f: Finding) -> str:
    """One row of the table of all findings."""
    words = "".join(f"<td>{escape(text)}</td>" for text in (f.adapter, f.case, check_name(f), f.of))
    figures = (str(f.n_compared or ""), where(f), number(f.got), wanted(f), number(f.gap, 1), number(f.resolution, 1))
    numbers = "".join(f'<td class="n">{escape(text)}</td>' for text in figures)
    causes = escape(", ".join(c.name for c in f.causes) or f.why)
    return f'<tr><td><span class="v {f.verdict}">{f.verdict}</span></td>{words}{numbers}<td>{causes}</td></tr>'
