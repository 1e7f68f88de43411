"""What happens inside a test: verify, remember the rows, and pass, fail or xfail.

Imported by the pytest plugin, so nothing heavy at the top; what a test records is plain Python, because one NumPy
scalar would abort a whole pytest-xdist run.
"""

from __future__ import annotations

import dataclasses
import datetime
import inspect
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from gradverify import options
from gradverify.errors import GradverifyError, UsageError

if TYPE_CHECKING:
    from gradverify.report import Report
    from gradverify.subjects import Subject
    from gradverify.waivers import Waiver

#: On an item: one dict per call of ``verify``, not yet attached to a test report.
CALLS = pytest.StashKey[list[dict[str, Any]]]()
#: On the config: the keywords that options and ini keys set, and the waivers; absent where there are none.
DEFAULTS = pytest.StashKey[dict[str, Any]]()
WAIVERS = pytest.StashKey[list["Waiver"]]()
#: On an item: the reasons of the waivers that excuse what failed in it so far.
WAIVED = pytest.StashKey[list[str]]()
#: On an item: True when the check of ``parametrize_with_checks`` was called.
ASKED = pytest.StashKey[bool]()
#: On an item: what is wrong with its marker.
FAULT = pytest.StashKey[str]()
#: The test that runs; set by the plugin for the checks of ``parametrize_with_checks``.
current_item: ContextVar[pytest.Item] = ContextVar("current_item")


class Recorder:
    """The value of the ``gradverify`` fixture: call it like ``gv.verify``; it asserts and records."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def __call__(self, subject: Any, primals: Any = None, **keywords: Any) -> Report:
        """``gv.verify(subject, primals, **keywords)``, recorded; returns the report if it is not a failure.

        Keywords given here win over the marker's, the marker's over options, options over ini keys.
        Raises GradientFailure, an AssertionError, with the failure text; a waived failure makes the test an xfail.
        """
        __tracebackhide__ = True
        report = self.measure(subject, primals, **keywords)
        self.settle(report)
        return report

    def measure(self, subject: Any, primals: Any = None, **keywords: Any) -> Report:
        """Verify and record, without judging the test. What cannot be driven is a row, too."""
        __tracebackhide__ = True
        from gradverify.api import verify

        given = {**defaults(self._item.config), **self._marked(), **keywords}
        given["name"] = given.get("name") or self._name()
        try:
            _known(given, tuple(inspect.signature(verify).parameters)[2:])
            report = verify(subject, primals, **given)
        except GradverifyError as error:
            self.broken(str(error), str(given["name"]), given.get("seed", 0))
            raise error.with_traceback(None) from error.__cause__  # the frames of gradverify help nobody
        return self.record(report, given.get("seed", 0))

    def subject(self, subject: Subject) -> Report:
        """Verify a ``@gv.subject`` function; the marker's and the options' keywords win over the decorator's."""
        __tracebackhide__ = True
        given = {**subject.keywords, **defaults(self._item.config), **self._marked(), "name": subject.name}
        try:
            made, primals, constants = subject.draw(int(given.get("seed", 0)))
        except Exception as error:
            said = str(error) if isinstance(error, GradverifyError) else f"{type(error).__name__}: {error}"
            self.broken(said, subject.name, given.get("seed", 0))
            raise
        return self(made, primals, constants=constants, **given)

    def _marked(self) -> dict[str, Any]:
        """The keywords of the test's markers; the closest wins, a class or a module may give the others."""
        marks = list(self._item.iter_markers("gradverify"))
        return {name: value for mark in reversed(marks) for name, value in mark.kwargs.items()}

    def broken(self, why: str, name: str, seed: int, repeat: Sequence[str] = ()) -> None:
        """Record that the implementation could not be driven; the arguments are those of ``record``."""
        from gradverify.report import Report
        from gradverify.types import Finding, Verdict

        row = Finding(adapter=name, case=name, check="run", of="subject", verdict=Verdict.ERROR, why=why or "no reason")
        self.record(Report.of([row]), seed, repeat)

    def _name(self) -> str:
        """The test's name; further calls in the same test are numbered, examples of one Hypothesis test are not."""
        calls = len(self._item.stash.get(CALLS, []))
        return self._item.name if not calls or _under_hypothesis() else f"{self._item.name}#{calls + 1}"

    def record(self, report: Report, seed: int, repeat: Sequence[str] = ()) -> Report:
        """Attach the report to the test as plain Python and as JUnit properties; say how to repeat it.

        repeat  what selects this test on the command line; default: its node id, as seen from here
        """
        from gradverify.formats._plain import encode

        config = self._item.config
        here = os.path.relpath(self._item.path, config.invocation_params.dir)
        selected = repeat or [f"{here}::{self._item.nodeid.partition('::')[2]}"]
        command = shlex.join(["pytest", *selected, *given_options(config, seed)])
        report = dataclasses.replace(
            report, findings=tuple(dataclasses.replace(f, repeat=command) for f in report.findings)
        )
        seconds = float((report.footer or {}).get("seconds", 0.0))
        call = {"test": self._item.nodeid, "rows": [encode(f) for f in report.findings], "seconds": seconds}
        calls = self._item.stash.setdefault(CALLS, [])
        if _under_hypothesis():
            import hypothesis

            hypothesis.note(repr(report))
            if calls and _badness(call) < _badness(calls[-1]):
                return report  # of hundreds of examples the worst is kept
            calls.clear()
            _drop_properties(self._item)
        calls.append(call)
        self._item.user_properties += [
            ("gradverify_verdict", report.verdict),
            ("gradverify_judged", report.judged),
            ("gradverify_causes", ", ".join(report.causes)),
            ("gradverify_answer", str(report).split("\n", 1)[0]),
        ]
        return report

    def settle(self, report: Report) -> None:
        """Pass or fail; where waivers excuse every failing finding, the test goes on and ends as an xfail at best.

        A waiver for what passes is a failure.
        """
        __tracebackhide__ = True
        from gradverify.waivers import split

        waivers: list[Waiver] = self._item.config.stash.get(WAIVERS, [])
        used, unwaived, stale = split(report.findings, live(waivers))
        if unwaived or not (used or stale) or self._item.config.getoption("runxfail"):
            report.raise_for_failures()
        if stale:
            said = "; ".join(map(str, stale))
            pytest.fail(f"[XPASS(strict)] this passes now; narrow or remove the {said}", pytrace=False)
        self._item.stash.setdefault(WAIVED, []).extend(w.reason for w in used)


def finish(item: pytest.Item, report: pytest.TestReport) -> None:
    """The end of a test: an xfail where waivers excuse what failed in it, a fail where it never asked its check."""
    waived = item.stash.get(WAIVED, [])
    if waived and report.passed:
        report.outcome, report.wasxfail = "skipped", "; ".join(dict.fromkeys(waived))
    bound = getattr(getattr(item, "callspec", None), "params", {}).get("check")
    if report.passed and getattr(bound, "is_a_bound_check", False) and not item.stash.get(ASKED, False):
        report.outcome = "failed"
        report.longrepr = f"{item.name} never called its argument, so nothing was checked: write check() in the test"


def taken(item: pytest.Item, report: pytest.TestReport) -> list[dict[str, Any]]:
    """The calls recorded since the last report, with what became of the test: why a fail in it is none of the run."""
    calls = item.stash.get(CALLS, [])
    excused = getattr(report, "wasxfail", "the test expects it" if report.passed else "")
    found = [{**call, "excused": excused, "skipped": report.skipped and not excused} for call in calls]
    calls.clear()
    return found


def defaults(config: pytest.Config) -> dict[str, Any]:
    """The keywords of ``verify`` that an option or an ini key sets."""
    found: dict[str, Any] = config.stash.get(DEFAULTS, {})
    return dict(found)


def given_options(config: pytest.Config, seed: int) -> list[str]:
    """The options that a repetition needs to be the same: those of this command line, and the seed."""
    named = [(name, seed if name == "seed" else config.getoption(f"gradverify_{name}")) for name in options.NAMES]
    return [word for name, value in named if value is not None for word in (f"--gradverify-{name}", str(value))]


def _known(given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises UsageError for a keyword that ``gv.verify`` does not have."""
    for name in given:
        if name not in known:
            raise UsageError(
                f"gradverify() has no keyword {name!r}{options.nearest(name, known)} known: {', '.join(known)}"
            )


def live(waivers: Sequence[Waiver]) -> list[Waiver]:
    """The waivers that have not expired."""
    today = datetime.date.today()
    return [w for w in waivers if not w.expired(today)]


def _badness(call: dict[str, Any]) -> tuple[bool, bool]:
    verdicts = {row["verdict"] for row in call["rows"]}
    return ("fail" in verdicts or "error" in verdicts, "inconclusive" in verdicts)


def _drop_properties(item: pytest.Item) -> None:
    item.user_properties[:] = [p for p in item.user_properties if not p[0].startswith("gradverify_")]


def _under_hypothesis() -> bool:
    """True inside a Hypothesis example; asks only if the test has imported Hypothesis already."""
    hypothesis = sys.modules.get("hypothesis")
    return bool(hypothesis and hypothesis.currently_in_test_context())
