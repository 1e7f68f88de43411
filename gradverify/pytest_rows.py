"""How rows travel: from a test onto its report, and from all reports to the table and the report file."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from gradverify.recording import FAULT, current_item, finish, taken


class Rows:
    """Registered when the first test uses gradverify."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Remember which test runs, for the checks of ``parametrize_with_checks``."""
        current_item.set(item)
        if FAULT in item.stash:
            pytest.fail(item.stash[FAULT], pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Move the rows of the test onto its report; what waivers excuse is an xfail."""
        report = yield
        if report.when == "call":
            finish(item, report)
        calls = taken(item, report)
        if calls:
            report.gradverify = calls  # type: ignore[attr-defined]  # pytest carries unknown attributes to the controller
        return report


class Gather:
    """Registered on the controller only, when something may come: workers send, they do not gather.

    calls    one dict per call of ``verify``
    crashes  the workers that died
    unsaved  why the report was not written
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.calls: list[dict[str, Any]] = []
        self.crashes: list[str] = []
        self.unsaved = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.calls += getattr(report, "gradverify", [])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error:
            self.crashes.append(f"{node.gateway.id}: {error}")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.config.getoption("collectonly"):
            return
        if self._proves_nothing() and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.config.getoption("gradverify_report"):
            from gradverify.pytest_table import save

            complete = exitstatus not in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
            self.unsaved = save(self, self.config, complete)
            if self.unsaved and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _proves_nothing(self) -> bool:
        """A conformance run that judged nothing."""
        return bool(self.config.getoption("gradverify_target")) and not self._judged()

    def _judged(self) -> bool:
        return any(row["verdict"] in ("pass", "fail") for call in self.calls for row in call["rows"])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.config.getoption("collectonly"):
            return
        if self._proves_nothing():
            terminalreporter.write_line("gradverify: nothing was judged, so the run fails", red=True)
        if self.calls or self.config.getoption("gradverify_report"):
            from gradverify.pytest_table import summary

            terminalreporter.section("gradverify")
            for line in summary(self, self.config):
                terminalreporter.write_line(line)
        if self.unsaved:
            terminalreporter.write_line(self.unsaved, red=True)
