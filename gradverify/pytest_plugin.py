"""The pytest plugin: fixture ``gradverify``, marker ``gradverify``, ``@gv.subject`` collection, table and report file.

Imports the standard library and pytest only, and registers what runs at every test when the first test uses it: a run
that does not use it pays for the options and nothing else. Rows ride on each test's own report, so they reach the
controller of pytest-xdist even when a worker dies later.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from gradverify import options

if TYPE_CHECKING:
    from pathlib import Path

    from gradverify.recording import Recorder
    from gradverify.subjects import Subject

MARKER = (
    "gradverify(level, seed, device, dtype, checks, oracles, tolerance): keywords for the gradverify fixture of a test"
)
MARKER_KEYWORDS = ("level", "seed", "device", "dtype", "checks", "oracles", "tolerance")


#: The attribute that ``@gv.subject`` leaves on a function; a test keeps it equal to ``gradverify.subjects.MARK``.
SUBJECT = "__gradverify_subject__"


class Session:
    """What the controller gathers: one dict per call of ``verify``, and which workers died."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.crashes: list[str] = []


SESSION = pytest.StashKey[Session]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options ``--gradverify-*`` and ini keys ``gradverify_*``."""
    group = parser.getgroup("gradverify", "gradverify: is the gradient right?")
    options.add(group.addoption, prefix="gradverify-")
    group.addoption("--gradverify-report", metavar="PATH", help="write the findings; the suffix names the format")
    group.addoption("--gradverify-columns", metavar="A,B,...", help="columns of the table in the terminal")
    group.addoption("--gradverify-waivers", metavar="PATH", help="TOML file of known failures with reasons")
    group.addoption(
        "--gradverify-target", metavar="MODULE:NAME", help="the backend that --pyargs gradverify.conformance tests"
    )
    for name, _, _, text in options.SHARED:
        parser.addini(f"gradverify_{name}", text, default="")
    parser.addini("gradverify_columns", "columns of the table in the terminal", default="")
    parser.addini("gradverify_waivers", "TOML file of known failures with reasons, relative to the rootdir", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, read the options. Raises pytest.UsageError with one clear line."""
    config.addinivalue_line("markers", MARKER)
    config.stash[SESSION] = Session()
    try:
        defaults, waivers = _defaults(config), _waivers(config)
        if defaults or waivers:
            from gradverify.recording import DEFAULTS, WAIVERS

            config.stash[DEFAULTS], config.stash[WAIVERS] = defaults, waivers
        if config.getoption("gradverify_columns") or config.getini("gradverify_columns"):
            _columns(config)
        if config.getoption("gradverify_report"):
            from gradverify.report import format_of

            format_of(config.rootpath / config.getoption("gradverify_report"))
    except Exception as error:
        from gradverify.errors import GradverifyError

        if not isinstance(error, (GradverifyError, argparse.ArgumentTypeError)):
            raise
        raise pytest.UsageError(f"gradverify: {error}") from error


def _defaults(config: pytest.Config) -> dict[str, Any]:
    """The keywords of ``verify`` that an option or, without one, an ini key sets."""
    given = {}
    for name, convert, _, _ in options.SHARED:
        value = config.getoption(f"gradverify_{name}")
        if value is None and config.getini(f"gradverify_{name}"):
            value = convert(config.getini(f"gradverify_{name}"))
        if value is not None:
            given[name] = value
    return given


def _waivers(config: pytest.Config) -> list[Any]:
    path: Path | None = None
    if config.getoption("gradverify_waivers"):
        path = config.invocation_params.dir / config.getoption("gradverify_waivers")
    elif config.getini("gradverify_waivers"):
        path = config.rootpath / config.getini("gradverify_waivers")
    if path is None:
        return []
    from gradverify.waivers import read_waivers

    return read_waivers(path)


def _columns(config: pytest.Config) -> list[str]:
    from gradverify.pytest_table import chosen_columns

    return chosen_columns(config.getoption("gradverify_columns") or config.getini("gradverify_columns"))


def pytest_report_header(config: pytest.Config) -> str | None:
    """One line, only when an option or ini key of gradverify is set."""
    recording = sys.modules.get("gradverify.recording")  # imported when there is an option or a waiver
    defaults: dict[str, Any] = config.stash.get(recording.DEFAULTS, {}) if recording else {}
    waivers: list[Any] = config.stash.get(recording.WAIVERS, []) if recording else []
    said = [f"{name} {value}" for name, value in defaults.items()]
    if config.getoption("gradverify_target"):
        said.insert(0, f"target {config.getoption('gradverify_target')}")
    if config.getoption("gradverify_report"):
        said.append(f"report {config.getoption('gradverify_report')}")
    if waivers:
        said.append(f"{len(waivers)} waivers")
    return f"gradverify: {', '.join(said)}" if said else None


@pytest.fixture
def gradverify(request: pytest.FixtureRequest) -> Recorder:
    """``gradverify(subject, primals, **keywords)``: ``gv.verify`` that asserts and records."""
    from gradverify.recording import Recorder

    _in_use(request.config)
    return Recorder(request.node)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse markers with keywords that mean nothing: a typo must not weaken a test."""
    if "gradverify.parametrize" in sys.modules:  # its checks ask which test runs, and have no fixture
        _in_use(config)
    for item in items:
        for mark in item.iter_markers("gradverify"):
            wrong = _marker_fault(mark)
            if wrong:
                raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.gradverify {wrong}")


def _marker_fault(mark: pytest.Mark) -> str:
    if mark.args:
        return f"takes keywords only, not {mark.args[0]!r}"
    for name, value in mark.kwargs.items():
        if name not in MARKER_KEYWORDS:
            hint = options.nearest(name, MARKER_KEYWORDS)
            return f"does not know {name!r}" + (hint if hint != ";" else f"; known: {', '.join(MARKER_KEYWORDS)}")
        if name == "level" and value not in options.LEVELS:
            hint = options.nearest(str(value), options.LEVELS)
            return f"has no level {value!r}{hint} known: {', '.join(options.LEVELS)}"
    return ""


class SubjectItem(pytest.Item):
    """A ``@gv.subject`` function of a test module, as a test."""

    def __init__(self, *, subject: Subject, **kw: Any) -> None:
        super().__init__(**kw)
        self.gradverify_subject = subject

    def runtest(self) -> None:
        __tracebackhide__ = True
        from gradverify.recording import Recorder

        Recorder(self).subject(self.gradverify_subject)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The failure text alone: there is no test body whose line would help."""
        from gradverify.errors import GradientFailure

        if isinstance(excinfo.value, GradientFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        code = getattr(self.gradverify_subject.make, "__code__", None)
        return self.path, None if code is None else code.co_firstlineno - 1, self.name


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> pytest.Item | None:
    """Functions marked with ``@gv.subject`` where they are defined, whatever their names."""
    if not inspect.isfunction(obj) or SUBJECT not in vars(obj) or not isinstance(collector, pytest.Module):
        return None
    from gradverify.subjects import marked

    subject = marked(obj)
    if subject is None or obj.__module__ != collector.obj.__name__:
        return None
    _in_use(collector.config)
    item: pytest.Item = SubjectItem.from_parent(collector, name=name, subject=subject)
    return item


def _in_use(config: pytest.Config) -> None:
    """From here on rows travel on reports, and the controller gathers them."""
    if not config.pluginmanager.has_plugin("gradverify-rows"):
        config.pluginmanager.register(_Rows(), "gradverify-rows")
    _gather(config)


def _gather(config: pytest.Config) -> None:
    """Gather rows on the controller, or where there is only one process."""
    if not hasattr(config, "workerinput") and not config.pluginmanager.has_plugin("gradverify-gather"):
        config.pluginmanager.register(_Gather(config), "gradverify-gather")


class _Rows:
    """Registered when the first test uses gradverify."""

    def __init__(self) -> None:
        from gradverify.recording import CALLS, current_item

        self.calls, self.current = CALLS, current_item

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Remember which test runs, for the checks of ``parametrize_with_checks``."""
        self.current.set(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Move the rows of the test onto its report."""
        report = yield
        calls = item.stash.get(self.calls, None)
        if calls:
            report.gradverify = list(calls)  # type: ignore[attr-defined]  # pytest carries unknown attributes to the controller
            calls.clear()
        return report


class _Gather:
    """Registered on the controller only, when something may come: workers send, they do not gather."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.session = config.stash[SESSION]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.session.calls += getattr(report, "gradverify", [])

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error:
            self.session.crashes.append(f"{node.gateway.id}: {error}")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.config.getoption("gradverify_target") and not self._judged() and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED  # a conformance run that judged nothing proves nothing
        path = self.config.getoption("gradverify_report")
        if path:
            from gradverify.pytest_table import save

            complete = exitstatus not in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
            save(self.session, self.config, complete)

    def _judged(self) -> bool:
        return any(row["verdict"] in ("pass", "fail") for call in self.session.calls for row in call["rows"])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.config.getoption("gradverify_target") and not self._judged():
            terminalreporter.write_line("gradverify: nothing was judged, so the run fails", red=True)
        if self.session.calls or self.config.getoption("gradverify_report"):
            from gradverify.pytest_table import summary

            terminalreporter.section("gradverify")
            for line in summary(self.session, self.config):
                terminalreporter.write_line(line)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Gather from the start where a report is asked for, or where the workers of pytest-xdist use gradverify unseen."""
    config = session.config
    asked = config.getoption("gradverify_report") or config.getoption("gradverify_target")
    if asked or config.pluginmanager.has_plugin("dsession"):
        _gather(config)
