"""The suite itself; see the package. ``-k relu`` picks an op, ``-k invariant`` the properties that need no oracle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gradverify import registry
from gradverify.cases import cases_of
from gradverify.cases import ops as catalogue
from gradverify.conformance.asking import ask
from gradverify.conformance.code import as_question
from gradverify.conformance.loading import DTYPES, load_target
from gradverify.conformance.properties import check_invariants
from gradverify.conformance.target import Driven, Target, capabilities_of
from gradverify.errors import AdapterError, GradientFailure, GradverifyError
from gradverify.options import nearest
from gradverify.recording import defaults
from gradverify.report import Report
from gradverify.tracebacks import own_part
from gradverify.types import Case, Verdict

EXAMPLES = {"quick": 5, "standard": 10, "thorough": 100}  #: generated cases per invariant and op
PRECISION = ("pullback-matches-oracle", "dtype-preserved", "finite")  #: what is asked again in other dtypes


def _target(config: pytest.Config) -> Target:
    """The target of this run. Raises CollectError, which is shown without a traceback, when there is none."""
    spec = config.getoption("gradverify_target")
    if not spec:
        raise pytest.Collector.CollectError("say which backend to test: --gradverify-target=package.module:name")
    try:
        return load_target(spec, _setting(config, "device", None))
    except GradverifyError as error:
        raise pytest.Collector.CollectError(f"gradverify: {error}") from error


def _setting(config: pytest.Config, name: str, default: Any) -> Any:
    """What an option or an ini key says."""
    return defaults(config).get(name, default)


def _seed(config: pytest.Config) -> int:
    return int(_setting(config, "seed", 0))


def _dtypes(config: pytest.Config, target: Target) -> tuple[str, ...]:
    """The one that was asked for, else all that the target declares."""
    asked = _setting(config, "dtype", None)
    if asked is not None and asked not in DTYPES:
        raise pytest.Collector.CollectError(
            f"the catalogue cannot be cast to {asked!r}{nearest(asked, DTYPES)} known: {', '.join(DTYPES)}"
        )
    return (asked,) if asked else capabilities_of(target).dtypes


def _has(target: Target, case: Case) -> bool:
    try:
        return Driven(target).supports(case)
    except AdapterError as error:
        raise pytest.Collector.CollectError(f"gradverify: {_told(error)}") from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per case that the target supports, per dtype beyond the first, and per invariant."""
    target = _target(metafunc.config)
    names = metafunc.fixturenames
    cases = [c for op in catalogue() for c in cases_of(op) if _has(target, c)]
    if "dtype" in names:  # spot checks: the plain points of each op
        pairs = [(c, d) for c in cases if not c.tags for d in _dtypes(metafunc.config, target)[1:]]
        _parametrize(metafunc, ("case", "dtype"), pairs, [f"{c.name}-{d}" for c, d in pairs])
    elif "case" in names:
        _parametrize(metafunc, ("case",), [(c,) for c in cases], [c.name for c in cases])
    elif "lacking" in names:
        had = {c.op for c in cases}
        lacking = [op for op in catalogue() if op not in had]
        _parametrize(metafunc, ("lacking",), [(op,) for op in lacking], lacking)
    elif "invariant" in names:
        metafunc.parametrize("invariant", list(registry.invariant))


def _parametrize(metafunc: pytest.Metafunc, names: Sequence[str], values: Sequence[Any], ids: Sequence[str]) -> None:
    """As ``metafunc.parametrize``; no values are one skipped test, whatever the configuration makes of none."""
    if values:
        metafunc.parametrize(names, values, ids=ids)
    else:
        nothing = pytest.param(*(None for _ in names), marks=pytest.mark.skip(reason="there is none"), id="none")
        metafunc.parametrize(names, [nothing])


def test_target(request: pytest.FixtureRequest) -> None:
    """The target has at least one op of the catalogue."""
    target = _target(request.config)
    if not any(Driven(target).supports(c) for op in catalogue() for c in cases_of(op)):
        said = f"{target.name} supports no op of the catalogue: nothing can be judged. supports(case) looks at case.op"
        pytest.fail(f"{said}; the ops are {', '.join(catalogue())}", pytrace=False)


def test_lacking(request: pytest.FixtureRequest, lacking: str) -> None:
    """An op that the target does not have is skipped and listed: ``pytest -rs``."""
    pytest.skip(f"{_target(request.config).name} has no {lacking}")


def test_case(gradverify: Any, request: pytest.FixtureRequest, case: Case) -> None:
    """Every check of the level at every point of the catalogue, in the most precise dtype of the target."""
    first = _dtypes(request.config, _target(request.config))[0]
    level = _setting(request.config, "level", "standard")
    _asked(gradverify, request, case, level=level, dtype=None if first == "float64" else first)


def test_precision(gradverify: Any, request: pytest.FixtureRequest, case: Case, dtype: str) -> None:
    """The gradient in the other dtypes that the target declares, judged at the very same rounded numbers."""
    _asked(gradverify, request, case, dtype=dtype, checks=PRECISION)


def test_invariant(gradverify: Any, request: pytest.FixtureRequest, invariant: str) -> None:
    """Properties that need no oracle, on generated cases of every op that they speak about."""
    target, config = _target(request.config), request.config
    report = check_invariants(
        config.getoption("gradverify_target") if _setting(config, "device", None) is None else target,
        invariants=[invariant],
        max_examples=EXAMPLES[_setting(config, "level", "standard")],
        dtype=_dtypes(config, target)[0],
        seed=_seed(config),
    )
    recorded = gradverify.record(report, _seed(config), _selected(request))
    if not report.judged and report.verdict != Verdict.ERROR:
        why = next((f.why for f in report.findings), f"{target.name} has no op that {invariant} speaks about")
        pytest.skip(why)
    _settled(gradverify, recorded)


def _asked(gradverify: Any, request: pytest.FixtureRequest, case: Case, **how: Any) -> None:
    """Ask, record, and pass or fail; a failure says how to ask again, on the command line and as code."""
    how["seed"] = _seed(request.config)
    report, broken = None, ""
    try:
        report = ask(_target(request.config), case, **how)
    except AdapterError as error:
        gradverify.broken(str(error), case.name, how["seed"], _selected(request))
        broken = _told(error)
    if report is None:
        pytest.fail(broken, pytrace=False)
    spec, device = request.config.getoption("gradverify_target"), _setting(request.config, "device", None)
    report = _with_note(report, f"to ask again, as code:\n{as_question(spec, device, case, how)}")
    _settled(gradverify, gradverify.record(report, how["seed"], _selected(request)))


def _with_note(report: Report, note: str) -> Report:
    """The note on the first failing finding, once."""
    rows = list(report.findings)
    for i, f in enumerate(rows):
        if f.verdict is Verdict.FAIL:
            rows[i] = replace(f, notes=(*f.notes, note))
            break
    return replace(report, findings=tuple(rows))


def _settled(gradverify: Any, report: Report) -> None:
    said = ""
    try:
        gradverify.settle(report)
    except GradientFailure as failure:
        said = str(failure)
    if said:
        pytest.fail(said, pytrace=False)  # the lines of this file help nobody


def _selected(request: pytest.FixtureRequest) -> list[str]:
    """What selects this test on the command line, from any directory."""
    test = request.node.nodeid.partition("::")[2]
    spec = request.config.getoption("gradverify_target")
    return ["--pyargs", f"{__name__}::{test}", f"--gradverify-target={spec}"]


def _told(error: AdapterError) -> str:
    return f"{error}\n\n{own_part(error.__cause__)}" if error.__cause__ is not None else str(error)


for _test in (test_target, test_lacking, test_case, test_precision, test_invariant):
    setattr(_test, "__test__", True)  # noqa: B010  # a test whatever the user's python_functions says
del _test
