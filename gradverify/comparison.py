"""Two reports side by side: which verdicts changed and where digits moved."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gradverify.formats._words import aligned, check_name, number, plural
from gradverify.report import Report, key
from gradverify.types import Finding, Verdict

#: Half a decimal digit: the resolution wanders that much with the compiler and the BLAS.
NOTICEABLE = math.sqrt(10.0)

BADNESS = {Verdict.PASS: 0, Verdict.SKIPPED: 1, Verdict.INCONCLUSIVE: 1, Verdict.ERROR: 2, Verdict.FAIL: 3}

#: Of the header, what makes numbers comparable; the time, the command and the seed may differ.
SAME_MACHINE = ("gradverify", "python", "numpy", "torch", "platform", "device", "level", "seed")


@dataclass(frozen=True, kw_only=True)
class Change:
    """One row that is not as it was: ``old`` or ``new`` is None where the row is missing."""

    old: Finding | None
    new: Finding | None
    worse: bool

    @property
    def said(self) -> str:
        """``pass -> fail``, ``new``, ``gone`` or how the resolution moved."""
        if self.old is None:
            return "new: " + (self.new.verdict.value if self.new else "")
        if self.new is None:
            return f"gone, was {self.old.verdict}"
        if self.old.verdict is not self.new.verdict:
            return f"{self.old.verdict} -> {self.new.verdict}"
        return f"resolution {number(self.old.resolution, 1)} -> {number(self.new.resolution, 1)}"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All changes, the same rows counted, and what differs about where the two ran."""

    changes: tuple[Change, ...]
    unchanged: int
    differs: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """True when at least one row is worse than it was."""
        return any(c.worse for c in self.changes)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        bad = sum(c.worse for c in self.changes)
        answer = "same" if not self.changes else "worse" if bad else "no worse"
        yield f"{answer}: {plural(len(self.changes), 'change')}, {bad} for the worse, {self.unchanged} unchanged"
        for what in self.differs:
            yield f"note: {what}"
        cells = []
        for change in sorted(self.changes, key=lambda c: not c.worse):
            row = change.new or change.old
            if row is not None:
                name = f"{row.adapter} / {row.case}"
                cells.append(("WORSE" if change.worse else "", name, check_name(row), row.of, change.said))
        yield from aligned(cells)


def compare(old: Report, new: Report) -> Comparison:
    """What changed from ``old`` to ``new``; rows are the same if adapter, case, check, oracle and ``of`` are.

    Worse: a verdict further up in ``fail > error > inconclusive or skipped > pass``, a judged row that is gone, a new
    row that fails or errs, more than half a digit of resolution lost.
    """
    before = {key(f): f for f in old.findings}
    after = {key(f): f for f in new.findings}
    changes = []
    for k in dict.fromkeys((*before, *after)):
        change = _change(before.get(k), after.get(k))
        if change is not None:
            changes.append(change)
    both = len(before.keys() & after.keys())
    moved = sum(c.old is not None and c.new is not None for c in changes)
    return Comparison(changes=tuple(changes), unchanged=both - moved, differs=tuple(_differences(old, new)))


def _change(old: Finding | None, new: Finding | None) -> Change | None:
    if old is None or new is None:
        lost = old is not None and old.verdict in (Verdict.PASS, Verdict.FAIL)
        bad = new is not None and new.verdict in (Verdict.FAIL, Verdict.ERROR)
        return Change(old=old, new=new, worse=lost or bad)
    if old.verdict is not new.verdict:
        return Change(old=old, new=new, worse=BADNESS[new.verdict] > BADNESS[old.verdict])
    if not old.resolution or not new.resolution:
        return None
    ratio = new.resolution / old.resolution
    if 1 / NOTICEABLE <= ratio <= NOTICEABLE:
        return None
    return Change(old=old, new=new, worse=ratio > NOTICEABLE)


def _differences(old: Report, new: Report) -> Iterator[str]:
    for name in SAME_MACHINE:
        was, now = old.header.get(name), new.header.get(name)
        if was != now:
            yield f"{name} was {was}, is {now}"
