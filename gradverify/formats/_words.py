"""What the formats say in common: the order of verdicts, the first line of every report, numbers as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradverify.types import Cause, Finding, ReportLike, Verdict

#: Worst first: the order of the rows in every table, and which verdict a whole report has.
ORDER = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.SKIPPED)

VALUE = "pullback-matches-oracle"
JUDGED = frozenset({Verdict.PASS, Verdict.FAIL})


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict present; skipped rows do not count, and nothing judged is inconclusive."""
    present = {f.verdict for f in findings}
    for verdict in ORDER[:3]:
        if verdict in present:
            return verdict
    return Verdict.PASS if Verdict.PASS in present else Verdict.INCONCLUSIVE


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings have each verdict; every verdict is a key."""
    tally = dict.fromkeys((v.value for v in ORDER), 0)
    for f in findings:
        tally[f.verdict.value] += 1
    return tally


def judged(findings: Iterable[Finding]) -> int:
    """How many findings are judgements: passes and fails."""
    return sum(f.verdict in JUDGED for f in findings)


def nothing_judged(findings: Sequence[Finding]) -> bool:
    """True when no finding is a pass or a fail, or when oracles were asked and not one of their answers was.

    A run whose contract checks pass while every comparison with an oracle is inconclusive has not verified a
    gradient, so it must not look like one that has.
    """
    asked = [f for f in findings if (f.oracle or f.check == VALUE) and f.verdict is not Verdict.SKIPPED]
    fails = any(f.verdict is Verdict.FAIL for f in findings)
    return not fails and not judged(asked or findings)


def causes_of(findings: Iterable[Finding]) -> list[Cause]:
    """The causes of all findings, the most confident first, one per name.

    What only another length of an axis shows (a batch of one) comes after what the given point shows.
    """
    best: dict[str, tuple[bool, float, Cause]] = {}
    for f in findings:
        for cause in f.causes:
            rank = ("length" in f.facts, -cause.confidence, cause)
            if cause.name not in best or rank[:2] < best[cause.name][:2]:
                best[cause.name] = rank
    return [cause for *_, cause in sorted(best.values(), key=lambda rank: rank[:2])]


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings by verdict, worst first; the order of the run is kept within a verdict."""
    return sorted(findings, key=lambda f: ORDER.index(f.verdict))


def check_name(f: Finding) -> str:
    """``check[oracle]``, or ``check`` where no oracle was asked."""
    return f"{f.check}[{f.oracle}]" if f.oracle else f.check


def number(value: float | None, digits: int = 3) -> str:
    """A number in scientific notation; empty for ``None``."""
    return "" if value is None else f"{value:.{digits}e}"


def where(f: Finding) -> str:
    """The worst entry as ``[0, 2]``; ``[]`` for a scalar, empty where there is none."""
    return "" if f.index is None else f"[{', '.join(map(str, f.index))}]"


def wanted(f: Finding) -> str:
    """``want ± error of the oracle``; empty where there is no value."""
    if f.want is None:
        return ""
    error = "" if f.want_error is None else f" ± {number(f.want_error, 1)}"
    return number(f.want) + error


def worst_entry(f: Finding) -> str:
    """``worst at [0, 2]: got ..., want ... ± ..., gap ..., budget ...``; empty where nothing was compared."""
    if f.got is None or f.want is None:
        return ""
    parts = [f"got {number(f.got)}", f"want {wanted(f)}"]
    parts += [
        f"{word} {number(value, 1)}" for word, value in (("gap", f.gap), ("budget", f.budget)) if value is not None
    ]
    at = f"worst at {where(f)}: " if f.index else ""
    return at + ", ".join(parts)


def details(f: Finding) -> list[tuple[str, str]]:
    """The labelled lines that explain one finding, in reading order; the label of a plain sentence is empty."""
    rows = [("", ": ".join(part for part in (f.of, f.why) if part)), ("", worst_entry(f))]
    for cause in f.causes:
        rows.append(("cause", f"{cause.name}: {cause.evidence}" if cause.evidence else cause.name))
        rows.append(("try", cause.suggestion))
    rows += [("note", note) for note in f.notes]
    rows.append(("repeat", f.repeat))
    return [(label, text) for label, text in rows if text]


def blind_spots(findings: Iterable[Finding]) -> list[str]:
    """What the passes could not have seen, with what it is about: ``batch-mean-missing, sign (W, b)``."""
    seen: dict[str, list[str]] = {}
    for f in findings:
        for spot in f.blind_spots:
            seen.setdefault(spot, [])
            if f.of not in seen[spot]:
                seen[spot].append(f.of)
    together: dict[str, list[str]] = {}
    for spot, of in seen.items():
        together.setdefault(", ".join(of), []).append(spot)
    return [f"{', '.join(spots)} ({of})" for of, spots in together.items()]


def resolution_of(findings: Iterable[Finding]) -> tuple[int, float | None]:
    """How many gradients passed against an oracle, and the worst of their resolutions.

    A gradient judged several times counts once, at its sharpest resolution.
    """
    best: dict[tuple[str, str], float] = {}
    for f in findings:
        if f.verdict is Verdict.PASS and f.oracle:
            at = math.inf if f.resolution is None or math.isnan(f.resolution) else f.resolution
            best[f.adapter, f.of] = min(at, best.get((f.adapter, f.of), math.inf))
    known = [r for r in best.values() if math.isfinite(r)]
    return len(best), max(known) if known else None


def plural(n: int, noun: str) -> str:
    """``1 check``, ``2 checks``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def headline(report: ReportLike) -> str:
    """The first line of every report: the answer, what it rests on, and how long it took."""
    findings = report.findings
    verdict = verdict_of(findings)
    return (
        f"{verdict}: {_answer(verdict, findings)} ({plural(judged(findings), 'check')} judged{_seconds(report.footer)})"
    )


def _answer(verdict: Verdict, findings: Sequence[Finding]) -> str:
    """The sentence between the verdict and the brackets of the headline."""
    if verdict is Verdict.PASS:
        gradients, resolution = resolution_of(findings)
        if not gradients:
            return f"{plural(judged(findings), 'check')} passed"
        right = f"{plural(gradients, 'gradient')} right"
        return right if resolution is None else f"{right} to {number(resolution, 1)}"
    those = [f for f in findings if f.verdict is verdict]
    if verdict is Verdict.FAIL:
        names = _listed(f.of or f.check for f in those)
        causes = _listed((c.name for c in causes_of(those)), most=2)
        return f"{names} wrong" + (f", because of {causes}" if causes else "")
    if verdict is Verdict.ERROR:
        return those[0].why
    if not those:
        return "nothing was judged"
    undecided = f"{plural(len(those), 'check')} could not be decided: {those[0].why}"
    return f"no gradient was judged; {undecided}" if nothing_judged(findings) else undecided


def _listed(names: Iterable[str], most: int = 4) -> str:
    """``a, b, c and 2 more``, each name once."""
    unique = list(dict.fromkeys(names))
    rest = len(unique) - most
    return ", ".join(unique[:most]) + (f" and {rest} more" if rest > 0 else "")


def _seconds(footer: Mapping[str, Any] | None) -> str:
    if footer is None or footer.get("complete") is False:
        return ", incomplete"
    seconds = footer.get("seconds")
    return "" if not isinstance(seconds, (int, float)) else f", {seconds:.2f} s"


def aligned(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as columns of equal width, two spaces apart; the columns in ``right`` are flush right."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = [
        [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))] for r in rows
    ]
    return ["  ".join(row).rstrip() for row in cells]
