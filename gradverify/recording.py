"""What happens inside a test: verify, remember the rows, and pass, fail or xfail.

Imported by the pytest plugin, so nothing heavy at the top; what a test records is plain Python, because one NumPy
scalar would abort a whole pytest-xdist run.
"""

from __future__ import annotations

import dataclasses
import datetime
import shlex
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradverify.report import Report
    from gradverify.subjects import Subject
    from gradverify.waivers import Waiver

#: On an item: one dict per call of ``verify``, not yet attached to a test report.
CALLS = pytest.StashKey[list[dict[str, Any]]]()
#: On the config: the keywords that options and ini keys set, and the waivers; absent where there are none.
DEFAULTS = pytest.StashKey[dict[str, Any]]()
WAIVERS = pytest.StashKey[list["Waiver"]]()
#: The test that runs; set by the plugin for the checks of ``parametrize_with_checks``.
current_item: ContextVar[pytest.Item] = ContextVar("current_item")


class Recorder:
    """The value of the ``gradverify`` fixture: call it like ``gv.verify``; it asserts and records."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def __call__(self, subject: Any, primals: Any, **keywords: Any) -> Report:
        """``gv.verify(subject, primals, **keywords)``, recorded; returns the report if it is not a failure.

        Keywords given here win over the marker's, the marker's over options, options over ini keys.
        Raises GradientFailure, an AssertionError, with the failure text; a waived failure is an xfail.
        """
        __tracebackhide__ = True
        report = self.measure(subject, primals, **keywords)
        self.settle(report)
        return report

    def measure(self, subject: Any, primals: Any, **keywords: Any) -> Report:
        """Verify and record, without judging the test."""
        __tracebackhide__ = True
        from gradverify.api import verify

        marker = self._item.get_closest_marker("gradverify")
        defaults: dict[str, Any] = self._item.config.stash.get(DEFAULTS, {})
        given = {**defaults, **(marker.kwargs if marker else {}), **keywords}
        given["name"] = given.get("name") or self._name()
        return self.record(verify(subject, primals, **given), given.get("seed", 0))

    def subject(self, subject: Subject) -> Report:
        """Verify a ``@gv.subject`` function; the marker's and the options' keywords win over the decorator's."""
        __tracebackhide__ = True
        marker = self._item.get_closest_marker("gradverify")
        defaults: dict[str, Any] = self._item.config.stash.get(DEFAULTS, {})
        given = {**subject.keywords, **defaults, **(marker.kwargs if marker else {})}
        made, primals, constants = subject.draw(int(given.get("seed", 0)))
        return self(made, primals, constants=constants, **{**given, "name": subject.name})

    def _name(self) -> str:
        """The test's name; further calls in the same test are numbered, examples of one Hypothesis test are not."""
        calls = len(self._item.stash.get(CALLS, []))
        return self._item.name if not calls or _under_hypothesis() else f"{self._item.name}#{calls + 1}"

    def record(self, report: Report, seed: int) -> Report:
        """Attach the report to the test as plain Python and as JUnit properties; say how to repeat it."""
        from gradverify.formats._plain import encode

        repeat = f"{shlex.join(['pytest', self._item.nodeid])} --gradverify-seed {seed}"
        report = dataclasses.replace(
            report, findings=tuple(dataclasses.replace(f, repeat=repeat) for f in report.findings)
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
        """Pass, fail, or xfail where waivers excuse every failing finding; a stale waiver is a failure."""
        __tracebackhide__ = True
        from gradverify.waivers import split

        waivers: list[Waiver] = self._item.config.stash.get(WAIVERS, [])
        used, unwaived, stale = split(report.findings, live(waivers))
        if used and not unwaived:
            pytest.xfail("; ".join(w.reason for w in used))
        if stale:
            pytest.fail("[XPASS(strict)] this passes now, remove the " + "; ".join(map(str, stale)), pytrace=False)
        report.raise_for_failures()


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
