"""``gradverify check FILE[:NAME] ...``: the main job."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradverify import options
from gradverify.commands._say import say
from gradverify.errors import GradverifyError, UsageError
from gradverify.subjects import Subject, SubjectFile, find_files

if TYPE_CHECKING:
    from gradverify.report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Files and folders, what is asked, where it goes."""
    parser.add_argument(
        "paths", nargs="+", type=_said, metavar="FILE[:NAME]", help="a file, one subject of it, or a folder of files"
    )
    options.add(parser.add_argument)
    parser.add_argument("--checks", type=_names, metavar="A,B", help="only these (gradverify list checks)")
    parser.add_argument("--oracles", type=_names, metavar="A,B", help="only these (gradverify list oracles)")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only subjects of this name; a pattern as in a shell"
    )
    parser.add_argument(
        "--out", type=_said, metavar="PATH", help="write the report: a file whose suffix names the format, or a folder"
    )
    parser.add_argument(
        "--format",
        type=_said,
        metavar="FORMAT",
        help="print (or write to --out) this format; see: gradverify list formats",
    )
    parser.add_argument("--fail-fast", action="store_true", help="stop after the first subject that fails")
    parser.add_argument("-v", "--verbose", action="store_true", help="every finding, the file's own prints, tracebacks")
    parser.add_argument("-q", "--quiet", action="store_true", help="only subjects that do not pass, and the summary")


def _names(text: str) -> list[str]:
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise argparse.ArgumentTypeError("it is empty; give names, such as shape,linear-in-upstream")
    return names


def _said(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


@dataclass(frozen=True, kw_only=True)
class Job:
    """One subject to verify, as the user would name it."""

    file: Path
    subject: Subject
    keywords: dict[str, Any]

    @property
    def name(self) -> str:
        """``FILE:NAME``."""
        return f"{self.file}:{self.subject.name}"

    def repeat(self, check: str = "") -> str:
        """The command that repeats this one alone, or just one check of it."""
        words = ["gradverify", "check", self.name]
        given = {**self.keywords, **({"checks": [check]} if check else {})}
        for key, value in given.items():
            words += [f"--{key}", ",".join(value) if isinstance(value, list) else str(value)]
        return shlex.join(words)


def main(args: argparse.Namespace) -> int:
    """Verify, print a table row per subject, write the report; the exit status is the answer."""
    from gradverify.commands._rows import Printer
    from gradverify.commands._verify import verified
    from gradverify.report import Report

    started = time.perf_counter()
    entry = _format(args)
    _validate(args)
    jobs, broken = _jobs(args)
    printer = Printer([job.name for job in jobs], args) if entry is None or args.out else None
    reports = []
    for i, job in enumerate(jobs):
        report = verified(job, f"{i + 1}/{len(jobs)}", verbose=args.verbose)
        reports.append(report)
        if printer:
            printer.row(job, report)
        if args.fail_fast and report.verdict in ("fail", "error"):
            break
    shared = {k: v for k, v in vars(args).items() if k in ("level", "seed", "device", "dtype") and v is not None}
    header = {"seed": 0, "level": "standard", **shared}
    whole = Report.of([f for r in reports for f in r.findings], seconds=time.perf_counter() - started, **header)
    if printer and jobs:
        printer.summary(reports, whole, len(jobs))
    _deliver(whole, args, entry)
    return _status(reports, broken)


def _format(args: argparse.Namespace) -> Any:
    """The format to print or write, if one is asked for; names are checked before anything runs."""
    from gradverify.registry import report_format
    from gradverify.report import format_of

    if args.format:
        return report_format[args.format]
    if args.out and _is_file(args.out):
        return format_of(Path(args.out))
    return report_format["jsonl"] if args.out else None


def _validate(args: argparse.Namespace) -> None:
    """Unknown checks and oracles are refused before the user's code runs."""
    from gradverify import registry

    for name in args.checks or ():
        if name not in list(registry.invariant):
            _ = registry.check[name]
    for name in args.oracles or ():
        _ = registry.oracle[name]


def _jobs(args: argparse.Namespace) -> tuple[list[Job], bool]:
    """All subjects named, in order, and whether a file did not import (said on stderr at once)."""
    jobs: list[Job] = []
    found: list[str] = []
    broken = False
    for text in args.paths:
        path, wanted = _split(text)
        here: list[Subject] = []
        for file in find_files(path):
            try:
                loaded = _load(file, args.verbose)
            except UsageError:
                raise
            except GradverifyError as error:
                broken = True
                say(error, args.verbose)
                continue
            here += loaded
            jobs += [_job(file, s, args) for s in loaded if _chosen(s, wanted, args.only)]
        found += [s.name for s in here]
        if not here and not broken:
            raise UsageError(f"{path} has no subject; mark a function of rng with @gv.subject")
        if wanted and not broken and wanted not in [s.name for s in here]:
            raise UsageError(_unknown(wanted, [s.name for s in here], str(path)))
    for pattern in args.only or ():
        if not broken and not any(fnmatchcase(name, pattern) for name in found):
            raise UsageError(_unknown(pattern, found, "none of these files"))
    return list({job.name: job for job in jobs}.values()), broken


def _unknown(name: str, known: list[str], where: str) -> str:
    has = "has a" if where.startswith("none") else "has no"
    return f"{where} {has} subject called {name!r}{options.nearest(name, known)} known: {', '.join(known)}"


def _split(text: str) -> tuple[Path, str]:
    """``FILE[:NAME]``; a path that exists is taken as it is."""
    path, colon, name = text.rpartition(":")
    whole = not colon or not name or not path or Path(text).exists()
    return (Path(text), "") if whole else (Path(path), name)


def _load(file: Path, verbose: bool) -> list[Subject]:
    from gradverify.commands._verify import quiet

    with quiet(verbose):
        return SubjectFile(file).load()


def _chosen(subject: Subject, wanted: str, only: list[str] | None) -> bool:
    return wanted in ("", subject.name) and (not only or any(fnmatchcase(subject.name, p) for p in only))


def _job(file: Path, subject: Subject, args: argparse.Namespace) -> Job:
    """The subject with the options that were given; what the decorator says holds where none was."""
    given = {k: getattr(args, k) for k in ("seed", "level", "device", "dtype", "checks", "oracles")}
    keywords = {k: v for k, v in given.items() if v is not None}
    return Job(file=file, subject=subject, keywords={"seed": subject.keywords.get("seed", 0), **keywords})


def _is_file(out: str) -> bool:
    """A name with a suffix is a file, unless there is a folder of that name."""
    return bool(Path(out).suffix) and not Path(out).is_dir()


def _deliver(report: Report, args: argparse.Namespace, entry: Any) -> None:
    from gradverify.report import write_lines

    if entry is None:
        return
    if args.out is None:
        sys.stdout.writelines(line + "\n" for line in entry.item(report))
        return
    target = Path(args.out) if _is_file(args.out) else Path(args.out) / f"check{entry.meta['suffix']}"
    write_lines(target, entry.item(report))
    sys.stdout.write(f"report: {target}\n")


def _status(reports: list[Report], broken: bool) -> int:
    verdicts = {r.verdict for r in reports}
    if "fail" in verdicts:
        return 1
    if broken or "error" in verdicts:
        return 3
    return 5 if not reports or any(r.nothing_judged for r in reports) else 0
