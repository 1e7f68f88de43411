"""What a run returns: a header, the findings, and a footer without which it does not count.

``Report.of`` builds one, ``save`` writes it in any registered format, ``read`` reads the JSON lines back.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradverify.errors import GradientFailure, ReportError, UsageError
from gradverify.formats import _plain, _words
from gradverify.formats.html import fragment
from gradverify.formats.jsonl import SCHEMA_VERSION
from gradverify.formats.terminal import failure_text, terminal
from gradverify.registry import Entry, report_format
from gradverify.types import Finding, Verdict

if TYPE_CHECKING:
    import pandas as pd

#: Named in the header when the run has already imported them.
FRAMEWORKS = ("numpy", "torch", "jax", "autograd")


@dataclass(frozen=True, kw_only=True)
class Report:
    """The findings of a run, with where and how it ran. All values are plain Python.

    footer  ``None`` while a run is under way: such a report can be looked at but is refused by ``read``
    """

    header: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    footer: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "header", _plain.plain(self.header))
        object.__setattr__(self, "findings", tuple(self.findings))
        object.__setattr__(self, "footer", None if self.footer is None else _plain.plain(self.footer))

    @classmethod
    def of(cls, findings: Iterable[Finding], *, seconds: float = 0.0, **header: Any) -> Report:
        """A complete report: ``header`` adds to ``environment()``, the footer is counted.

        Rows of the same adapter, case, check, oracle and ``of`` get a number, so that a saved report can be read back.
        """
        rows = _numbered(findings)
        footer = {
            "complete": True,
            "findings": len(rows),
            "judged": _words.judged(rows),
            "counts": _words.counts(rows),
            "evaluations": sum(f.evaluations for f in rows),
            "seconds": seconds,
        }
        return cls(header={**environment(), **header}, findings=tuple(rows), footer=footer)

    @property
    def verdict(self) -> str:
        """``"pass"``, ``"fail"``, ``"inconclusive"`` or ``"error"``: the worst; skipped findings do not count."""
        return _words.verdict_of(self.findings).value

    @property
    def causes(self) -> list[str]:
        """Names of the causes found, the most confident first, each once."""
        return [cause.name for cause in _words.causes_of(self.findings)]

    @property
    def judged(self) -> int:
        """How many findings are judgements: passes and fails."""
        return _words.judged(self.findings)

    @property
    def nothing_judged(self) -> bool:
        """True when there is no judgement, or when not one comparison with an oracle came to a judgement."""
        return _words.nothing_judged(self.findings)

    def frame(self) -> pd.DataFrame:
        """The findings as a pandas DataFrame: a row each, a column per field; ``causes`` holds names."""
        import pandas as pd

        rows = [
            {name: getattr(f, name) for name in _plain.FIELDS}
            | {"verdict": f.verdict.value, "causes": [c.name for c in f.causes]}
            for f in self.findings
        ]
        return pd.DataFrame(rows, columns=list(_plain.FIELDS))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the report in the format that the suffix names; the file appears whole or not at all.

        Raises UsageError for an unknown suffix. Missing folders are made.
        """
        target = Path(path)
        write_lines(target, format_of(target).item(self))
        return target

    def raise_for_failures(self) -> None:
        """Raise GradientFailure with the failure text if anything failed or erred, or if nothing was judged."""
        __tracebackhide__ = True
        if self.verdict in (Verdict.FAIL, Verdict.ERROR) or self.nothing_judged:
            raise GradientFailure("\n".join(failure_text(self)))

    def __str__(self) -> str:
        return "\n".join(terminal(self))

    def __repr__(self) -> str:
        return f"<Report {_words.headline(self)}>"

    def _repr_html_(self) -> str:
        return "\n".join(fragment(self))


def environment() -> dict[str, Any]:
    """Versions, platform, time and command of this process; a framework is named only if it is imported already."""
    versions = {"gradverify": _version(), "python": platform.python_version()}
    for name in FRAMEWORKS:
        module = sys.modules.get(name)
        if module is not None:
            versions[name] = str(getattr(module, "__version__", "unknown"))
    return {
        **versions,
        "platform": _platform(),
        "device": "cpu",
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv and sys.argv[0] else "",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _platform() -> str:
    return platform.platform()


@functools.cache
def _version() -> str:
    try:
        return metadata.version("gradverify")
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def _numbered(findings: Iterable[Finding]) -> list[Finding]:
    """The findings; the second row of the same name gets ``#2`` after its case, and so on."""
    last: dict[tuple[str, ...], int] = {}
    rows = []
    for f in findings:
        row = f
        while key(row) in last:
            last[key(f)] += 1
            row = replace(f, case=f"{f.case} #{last[key(f)]}")
        last[key(row)] = 1
        rows.append(row)
    return rows


def key(f: Finding) -> tuple[str, ...]:
    """What names a row within a report."""
    return (f.adapter, f.case, f.check, f.oracle, f.of)


def format_of(path: Path) -> Entry[Any]:
    """The format that a file name asks for. Raises UsageError that lists the known suffixes."""
    known = {entry.meta["suffix"]: entry for entry in report_format.entries()}
    if path.suffix not in known:
        listed = ", ".join(f"{suffix} ({entry.name})" for suffix, entry in sorted(known.items()))
        raise UsageError(f"{path.name!r} does not say in which format to write; known suffixes: {listed}")
    return known[path.suffix]


def write_lines(target: Path, lines: Iterable[str]) -> None:
    """Write beside ``target`` and move into place, so that no reader ever sees half a file."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(line + "\n" for line in lines)
        os.replace(beside, target)
    except OSError as error:
        raise OSError(f"cannot write {str(target)!r}: {error.strerror}") from error  # not of the name beside it
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> Report:
    """Read a JSON-lines report back, exactly.

    Raises UsageError if there is no such file, and ReportError if the report cannot be trusted: no footer, no
    findings, a row twice, a line that is cut off, a newer schema.
    """
    source = Path(path)
    try:
        text = source.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no report {str(source)!r}") from None
    except IsADirectoryError:
        raise UsageError(f"{str(source)!r} is a folder; name the .jsonl file in it") from None
    except UnicodeDecodeError:
        raise ReportError(f"{source} is not a JSON-lines report: it is not even text") from None
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise ReportError(f"{source} is empty")
    return _assembled(source, [_parsed(source, i, line, i == len(lines)) for i, line in enumerate(lines, 1)])


def _parsed(source: Path, i: int, line: str, is_last: bool) -> dict[str, Any]:
    """One line as an object. Raises ReportError."""
    try:
        row = json.loads(line)
    except ValueError:
        if is_last and i > 1:
            raise ReportError(f"{source} is incomplete: line {i} is cut off") from None
        raise ReportError(f"{source} is not a JSON-lines report: line {i} is not JSON") from None
    if not isinstance(row, dict):
        raise ReportError(f"{source} is not a gradverify report: line {i} is not an object")
    return row


def _assembled(source: Path, rows: Sequence[dict[str, Any]]) -> Report:
    """Header, findings and footer, each in its place. Raises ReportError."""
    first, last = rows[0], rows[-1]
    if first.get("kind") != "header":
        raise ReportError(f"{source} is not a gradverify report: it does not begin with a header")
    if first.get("schema_version") != SCHEMA_VERSION:
        raise ReportError(f"{source} has schema {first.get('schema_version')!r}; this version reads {SCHEMA_VERSION}")
    footer = _plain.unpack(last.get("footer", {})) if last.get("kind") == "footer" else {}
    if footer.get("complete") is not True:
        raise ReportError(f"{source} is incomplete: it has no footer that says so, the run was cut short")
    body = rows[1:-1]
    findings = tuple(_finding(source, i, row) for i, row in enumerate(body, 2))
    if not findings:
        raise ReportError(f"{source} is empty: it has no findings")
    if footer.get("findings", len(findings)) != len(findings):
        raise ReportError(
            f"{source} is incomplete: its footer counts {footer['findings']} findings, {len(findings)} are here"
        )
    twice = [k for k, n in Counter(map(key, findings)).items() if n > 1]
    if twice:
        raise ReportError(f"{source} has a duplicate: {' / '.join(filter(None, twice[0]))}")
    return Report(header=_plain.unpack(first.get("header", {})), findings=findings, footer=footer)


def _finding(source: Path, i: int, row: Mapping[str, Any]) -> Finding:
    """One finding. Raises ReportError."""
    if row.get("kind") != "finding":
        raise ReportError(f"{source}, line {i}: {row.get('kind')!r} where a finding belongs")
    try:
        return _plain.decode({k: v for k, v in row.items() if k != "kind"})
    except (ValueError, TypeError, KeyError) as error:
        raise ReportError(f"{source}, line {i} is not a finding: {error}") from error
