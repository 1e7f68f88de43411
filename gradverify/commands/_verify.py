"""One subject verified: its prints kept off the table, its exceptions turned into a row, progress for the impatient."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradverify.report import Report
from gradverify.types import Finding, Verdict

if TYPE_CHECKING:
    from gradverify.commands.check import Job

#: Seconds of silence before a terminal is told what is going on.
PATIENCE = 1.0


def verified(job: Job, count: str, *, verbose: bool) -> Report:
    """The report of one subject, its rows named after the file and carrying the command that repeats them."""
    started = time.perf_counter()
    source = job.subject.source
    said: list[str] = []
    with progress(f"{count} {job.name}"), quiet(verbose, said):
        try:
            with contextlib.chdir("."), source.importable() if source else contextlib.nullcontext():
                report = _verify(job)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's file does costs that file one row
            if verbose:
                traceback.print_exception(error)
            why = source.blame(error) if source else str(error)
            why = why or repr(error)
            row = Finding(
                adapter=job.subject.name,
                case=job.name,
                check="run",
                of="subject",
                verdict=Verdict.ERROR,
                why=why,
                repeat=job.repeat(),
            )
            report = Report.of([row], seconds=time.perf_counter() - started)
    notes = tuple(dict.fromkeys(said))
    rows = list(report.findings)
    if rows and notes:
        rows[0] = replace(rows[0], notes=rows[0].notes + notes)
    return replace(report, findings=tuple(rows))


def _verify(job: Job) -> Report:
    from gradverify.api import verify

    subject, primals, constants = job.subject.draw(int(job.keywords["seed"]))
    keywords: dict[str, Any] = {**job.subject.keywords, **job.keywords}
    report = verify(subject, primals, constants=constants, name=job.subject.name, repeat=job.repeat, **keywords)
    return replace(report, findings=tuple(replace(f, case=f"{job.file}:{f.case}") for f in report.findings))


@contextlib.contextmanager
def quiet(verbose: bool, said: list[str] | None = None) -> Iterator[None]:
    """Send the user's prints to stderr (``verbose``) or nowhere, and warnings to ``said``, once each.

    Code that changes the working directory changes it for itself alone: paths of reports are those of the caller.
    """
    with (
        contextlib.chdir("."),
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(sys.stderr if verbose else io.StringIO()),
    ):
        warnings.simplefilter("default")
        yield
    if said is not None:
        said += [f"{w.category.__name__}: {w.message}" for w in caught]


@contextlib.contextmanager
def progress(text: str) -> Iterator[None]:
    """After a second, say on a terminal what runs and for how long; nothing where nobody watches."""
    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_tell, args=(text, done, sys.stderr), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _tell(text: str, done: threading.Event, stream: Any) -> None:
    started = time.monotonic()
    if done.wait(PATIENCE):
        return
    try:
        from rich.console import Console
    except ImportError:
        while not done.wait(0.25):
            stream.write(f"\r{text} ({time.monotonic() - started:.0f} s)")
            stream.flush()
        stream.write("\r\x1b[K")
        stream.flush()
    else:
        with Console(file=stream).status(text):
            done.wait()
