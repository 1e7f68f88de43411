"""The pytest plugin: fixture ``gradverify``, marker ``gradverify``, ``@gv.subject`` collection, table and report file.

Imports the standard library and pytest only, and registers what runs at every test when the first test uses it: a run
that does not use it pays for the options and nothing else. Rows ride on each test's own report, so they reach the
controller of pytest-xdist even when a worker dies later.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gradverify import options

if TYPE_CHECKING:
    from pathlib import Path

    from gradverify.recording import Recorder

MARKER = (
    "gradverify(level, seed, device, dtype, checks, oracles, tolerance): keywords for the gradverify fixture of a test"
)
MARKER_KEYWORDS = ("level", "seed", "device", "dtype", "checks", "oracles", "tolerance")


#: The attribute that ``@gv.subject`` leaves on a function; a test keeps it equal to ``gradverify.subjects.MARK``.
SUBJECT = "__gradverify_subject__"


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
    try:
        defaults, waivers = _defaults(config), _waivers(config)
        if defaults or waivers:
            from gradverify.recording import DEFAULTS, WAIVERS

            config.stash[DEFAULTS], config.stash[WAIVERS] = defaults, waivers
        if config.getoption("gradverify_columns") or _ini(config, "columns"):
            _columns(config)
        _files(config)
        if config.getoption("gradverify_target") and not hasattr(config, "workerinput"):
            from gradverify.conformance.loading import load_target

            load_target(config.getoption("gradverify_target"), defaults.get("device"))
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
        if value is None and _ini(config, name):
            value = convert(_ini(config, name))
        if value is not None:
            given[name] = value
    return given


def _ini(config: pytest.Config, name: str) -> str:
    """An ini key. Raises ArgumentTypeError for what is no text, such as a list in pyproject.toml."""
    value: Any = config.getini(f"gradverify_{name}")
    if not isinstance(value, str):
        raise argparse.ArgumentTypeError(f"the ini key gradverify_{name} is a text, such as 'a,b', not {value!r}")
    return value


def _waivers(config: pytest.Config) -> list[Any]:
    path: Path | None = None
    if config.getoption("gradverify_waivers"):
        path = config.invocation_params.dir / config.getoption("gradverify_waivers")
    elif _ini(config, "waivers"):
        path = config.rootpath / _ini(config, "waivers")
    if path is None:
        return []
    from gradverify.waivers import read_waivers

    return read_waivers(path)


def _files(config: pytest.Config) -> None:
    """What is given as an option is not empty; the report can be a file of a known format."""
    for name in ("report", "waivers", "target"):
        if config.getoption(f"gradverify_{name}") == "":
            raise argparse.ArgumentTypeError(f"--gradverify-{name} is empty")
    if config.getoption("gradverify_report"):
        from gradverify.report import format_of

        path = config.invocation_params.dir / config.getoption("gradverify_report")
        format_of(path)
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"--gradverify-report={path} is a folder; name a file in it")


def _columns(config: pytest.Config) -> list[str]:
    from gradverify.pytest_table import chosen_columns

    return chosen_columns(config.getoption("gradverify_columns") or _ini(config, "columns"))


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
        said.append(f"{len(waivers)} waiver{'s' * (len(waivers) != 1)}")
    return f"gradverify: {', '.join(said)}" if said else None


@pytest.fixture
def gradverify(request: pytest.FixtureRequest) -> Recorder:
    """``gradverify(subject, primals, **keywords)``: ``gv.verify`` that asserts and records."""
    from gradverify.recording import Recorder

    _in_use(request.config)
    return Recorder(request.node)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse markers with keywords that mean nothing: a typo must not weaken a test."""
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and getattr(call.params.get("check"), "is_a_bound_check", False):
            _in_use(config)  # the checks of parametrize_with_checks ask which test runs, and have no fixture
        for mark in item.iter_markers("gradverify"):
            wrong = _marker_fault(mark)
            if wrong and hasattr(config, "workerinput"):  # an exception here would end a worker without a word
                from gradverify.recording import FAULT

                _in_use(config)
                item.stash[FAULT] = f"@pytest.mark.gradverify: {wrong}"
            elif wrong:
                raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.gradverify: {wrong}")


def _marker_fault(mark: pytest.Mark) -> str:
    if mark.args:
        return f"takes keywords only, not {mark.args[0]!r}; known: {', '.join(MARKER_KEYWORDS)}"
    for name, value in mark.kwargs.items():
        if name not in MARKER_KEYWORDS:
            return f"does not know {name!r}{options.nearest(name, MARKER_KEYWORDS)} known: {', '.join(MARKER_KEYWORDS)}"
        wrong = options.fault(name, value) or _unknown(name, value)
        if wrong:
            return wrong
    return ""


def _unknown(name: str, value: Any) -> str:
    """What no check or oracle is called; asks the registry only if there are names."""
    if name not in ("checks", "oracles"):
        return ""
    from gradverify import registry
    from gradverify.errors import UsageError

    try:
        for one in value:
            if name == "oracles" or one not in list(registry.invariant):
                _ = (registry.oracle if name == "oracles" else registry.check)[one]
    except UsageError as error:
        return str(error)
    return ""


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> pytest.Item | None:
    """Functions marked with ``@gv.subject`` where they are defined, whatever their names."""
    if not inspect.isfunction(obj) or SUBJECT not in vars(obj) or not isinstance(collector, pytest.Module):
        return None
    if obj.__module__ != collector.obj.__name__:
        return None
    from gradverify.pytest_items import subject_item

    _in_use(collector.config)
    return subject_item(collector, name, obj)


def _in_use(config: pytest.Config) -> None:
    """From here on rows travel on reports, and the controller gathers them."""
    if not config.pluginmanager.has_plugin("gradverify-rows"):
        from gradverify.pytest_rows import Rows

        config.pluginmanager.register(Rows(), "gradverify-rows")
    _gather(config)


def _gather(config: pytest.Config) -> None:
    """Gather rows on the controller, or where there is only one process."""
    if not hasattr(config, "workerinput") and not config.pluginmanager.has_plugin("gradverify-gather"):
        from gradverify.pytest_rows import Gather

        config.pluginmanager.register(Gather(config), "gradverify-gather")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Gather from the start where a report is asked for, or where the workers of pytest-xdist use gradverify unseen."""
    config = session.config
    asked = config.getoption("gradverify_report") or config.getoption("gradverify_target")
    if asked or config.pluginmanager.has_plugin("dsession"):
        _gather(config)
