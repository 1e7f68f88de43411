"""The suite itself; see the package. ``-k relu`` picks an op, ``-k invariant`` the properties that need no oracle."""

from __future__ import annotations

from typing import Any

import pytest

from gradverify import registry
from gradverify.cases import cases_of
from gradverify.cases import ops as catalogue
from gradverify.conformance.asking import ask
from gradverify.conformance.properties import check_invariants
from gradverify.conformance.target import Target, capabilities_of, load_target
from gradverify.errors import UsageError
from gradverify.types import Case

EXAMPLES = {"quick": 5, "standard": 10, "thorough": 100}  #: generated cases per invariant and op
PRECISION = ("pullback-matches-oracle", "dtype-preserved", "finite")  #: what is asked again in other dtypes


def _target(config: pytest.Config) -> Target:
    """The target of this run. Raises pytest.UsageError when there is none."""
    spec = config.getoption("gradverify_target")
    if not spec:
        raise pytest.UsageError("say which backend to test: --gradverify-target=package.module:name")
    try:
        return load_target(spec, config.getoption("gradverify_device"))
    except UsageError as error:
        raise pytest.UsageError(f"gradverify: {error}") from error


def _setting(config: pytest.Config, name: str, default: Any) -> Any:
    value = config.getoption(f"gradverify_{name}")
    return default if value is None else value


def _seed(config: pytest.Config) -> int:
    return int(_setting(config, "seed", 0))


def _dtypes(config: pytest.Config, target: Target) -> tuple[str, ...]:
    """The one that was asked for, else all that the target declares."""
    asked = config.getoption("gradverify_dtype")
    return (asked,) if asked else capabilities_of(target).dtypes


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per case that the target supports, per dtype beyond the first, and per invariant."""
    target = _target(metafunc.config)
    names = metafunc.fixturenames
    if "case" in names:
        cases = [c for op in catalogue() for c in cases_of(op) if target.supports(c)]
        if "dtype" in names:  # spot checks: the plain points of each op
            pairs = [(c, d) for c in cases if not c.tags for d in _dtypes(metafunc.config, target)[1:]]
            metafunc.parametrize(("case", "dtype"), pairs, ids=[f"{c.name}-{d}" for c, d in pairs])
        else:
            metafunc.parametrize("case", cases, ids=[c.name for c in cases])
    elif "lacking" in names:
        metafunc.parametrize("lacking", [op for op in catalogue() if not any(map(target.supports, cases_of(op)))])
    elif "invariant" in names:
        metafunc.parametrize("invariant", list(registry.invariant))


def test_target(request: pytest.FixtureRequest) -> None:
    """The target has at least one op of the catalogue."""
    target = _target(request.config)
    assert any(target.supports(c) for op in catalogue() for c in cases_of(op)), (
        f"{target.name} supports no op of the catalogue: nothing can be judged. The ops are {', '.join(catalogue())}"
    )


def test_lacking(request: pytest.FixtureRequest, lacking: str) -> None:
    """An op that the target does not have is skipped and listed: ``pytest -rs``."""
    pytest.skip(f"{_target(request.config).name} has no {lacking}")


def test_case(gradverify: Any, request: pytest.FixtureRequest, case: Case) -> None:
    """Every check of the level at every point of the catalogue, in the most precise dtype of the target."""
    target = _target(request.config)
    first = _dtypes(request.config, target)[0]
    level = _setting(request.config, "level", "standard")
    report = ask(target, case, level=level, seed=_seed(request.config), dtype=None if first == "float64" else first)
    gradverify.settle(gradverify.record(report, _seed(request.config)))


def test_precision(gradverify: Any, request: pytest.FixtureRequest, case: Case, dtype: str) -> None:
    """The gradient in the other dtypes that the target declares, judged at the very same rounded numbers."""
    target = _target(request.config)
    report = ask(target, case, seed=_seed(request.config), dtype=dtype, checks=PRECISION)
    gradverify.settle(gradverify.record(report, _seed(request.config)))


def test_invariant(gradverify: Any, request: pytest.FixtureRequest, invariant: str) -> None:
    """Properties that need no oracle, on generated cases of every op that they speak about."""
    target = _target(request.config)
    report = check_invariants(
        request.config.getoption("gradverify_target")
        if request.config.getoption("gradverify_device") is None
        else target,
        invariants=[invariant],
        max_examples=EXAMPLES[_setting(request.config, "level", "standard")],
        dtype=_dtypes(request.config, target)[0],
        seed=_seed(request.config),
    )
    recorded = gradverify.record(report, _seed(request.config))
    if not report.judged:
        pytest.skip(f"{target.name} has no op that {invariant} speaks about")
    gradverify.settle(recorded)
