"""Known failures, each with its reason: a TOML file of patterns that become strict expected failures.

    [[waiver]]
    check = "second-order-*"     # patterns as in a shell; at least one of check, case, adapter
    case = "relu-*"
    reason = "relu has no second derivative at 0; see docs/kinks.md"
    until = "2027-01"            # optional: from then on it waives nothing

A waiver whose findings all pass again is an error of the test that shows it: remove it.
"""

from __future__ import annotations

import datetime
import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradverify.errors import UsageError

if TYPE_CHECKING:
    from gradverify.types import Finding

PATTERNS = ("check", "case", "adapter")
KEYS = (*PATTERNS, "reason", "until")


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """Patterns of the findings that may fail, the reason why, and the last day on which they may."""

    reason: str
    check: str = "*"
    case: str = "*"
    adapter: str = "*"
    until: datetime.date | None = None

    def matches(self, finding: Finding) -> bool:
        """True when all patterns match the finding's names."""
        return all(fnmatchcase(getattr(finding, name), getattr(self, name)) for name in PATTERNS)

    def expired(self, today: datetime.date) -> bool:
        """True after its last day."""
        return self.until is not None and today > self.until

    def __str__(self) -> str:
        patterns = ", ".join(f"{n}={getattr(self, n)!r}" for n in PATTERNS if getattr(self, n) != "*")
        return f"waiver {patterns}: {self.reason}"


def split(findings: Iterable[Finding], waivers: Sequence[Waiver]) -> tuple[list[Waiver], list[Finding], list[Waiver]]:
    """``(used, unwaived, stale)`` for one set of findings.

    used      waivers that excuse at least one failing finding
    unwaived  failing findings that no waiver excuses
    stale     waivers that match judged findings here of which not one fails
    """
    from gradverify.types import Verdict

    rows = list(findings)
    failing = [f for f in rows if f.verdict in (Verdict.FAIL, Verdict.ERROR)]
    used = [w for w in waivers if any(w.matches(f) for f in failing)]
    unwaived = [f for f in failing if not any(w.matches(f) for w in used)]
    stale = [w for w in waivers if w not in used and any(f.verdict is Verdict.PASS and w.matches(f) for f in rows)]
    return used, unwaived, stale


def read_waivers(path: str | os.PathLike[str]) -> list[Waiver]:
    """The waivers of a TOML file. Raises UsageError that names the file, the waiver and the nearest valid key."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the waivers {str(path)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    _known_only(content, ("waiver",), str(path))
    rows = content.get("waiver", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path}: write each waiver as [[waiver]], with two brackets")
    return [_waiver(row, f"{path}, waiver {i}") for i, row in enumerate(rows, 1)]


def _waiver(row: dict[str, Any], at: str) -> Waiver:
    _known_only(row, KEYS, at)
    for name, value in row.items():
        if name != "until" and not (isinstance(value, str) and value.strip()):
            raise UsageError(f"{at}: {name} is a text that is not empty, not {value!r}")
    if "reason" not in row:
        raise UsageError(f"{at}: a waiver needs a reason")
    if not any(name in row for name in PATTERNS):
        raise UsageError(f"{at}: a waiver needs at least one of {', '.join(PATTERNS)}")
    return Waiver(**{**row, "until": _day(row.get("until"), at)})


def _known_only(row: dict[str, Any], known: Sequence[str], at: str) -> None:
    for name in row:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
            raise UsageError(f"{at}: unknown key {name!r}{hint}")


def _day(value: Any, at: str) -> datetime.date | None:
    """The last day: of a TOML date, ``"2027-01-31"`` or ``"2027-01"`` (its last day)."""
    if value is None or type(value) is datetime.date:
        return value
    if isinstance(value, str):
        try:
            if len(value) == len("2027-01"):
                first = datetime.date.fromisoformat(f"{value}-01")
                return (first + datetime.timedelta(days=31)).replace(day=1) - datetime.timedelta(days=1)
            return datetime.date.fromisoformat(value)
        except ValueError:
            pass
    raise UsageError(f"{at}: until is a day such as 2027-01-31 or a month such as 2027-01, not {value!r}")
