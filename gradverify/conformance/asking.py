"""One case put to one target: all checks of a level, or a single invariant."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify import registry, runner
from gradverify.conformance.target import Driven, capabilities_of
from gradverify.report import Report
from gradverify.types import Case, Finding, Verdict, differentiable


def ask(
    target: Any,
    case: Case,
    *,
    level: str = "standard",
    seed: int = 0,
    dtype: str | None = None,
    checks: Sequence[str] | None = None,
) -> Report:
    """All checks of a level (or those named) on a target at one case; what it declares it cannot do is skipped.

    dtype  cast floating-point arguments first
    At a kink any value between the one-sided derivatives is right, so the reference's own choice is not asked.
    Raises AdapterError when the target cannot be driven at this case at all.
    """  # fmt: skip
    start = time.perf_counter()
    case = cast(case, dtype) if dtype else case
    chosen = runner.choose(tuple(checks) if checks is not None else None, level)
    reasons = {e.name: capabilities_of(target).reason(e.name) for e in chosen}
    oracles = tuple(n for n in registry.oracle if n != "reference") if "kink" in case.tags else None
    plan = runner.Plan(
        adapter=Driven(target), case=case, checks=tuple(e for e in chosen if not reasons[e.name]), level=level,
        oracles=oracles, tolerance=None, seed=seed,
    )  # fmt: skip
    left = [
        Finding(adapter=target.name, case=case.name, check=name, of="", verdict=Verdict.SKIPPED, why=why)
        for name, why in reasons.items()
        if why
    ]
    findings = [*runner.run(plan), *left]
    return Report.of(findings, seconds=time.perf_counter() - start, seed=seed, level=level, adapter=target.name)


def ask_invariant(target: Any, case: Case, invariant: str, *, seed: int = 0) -> list[Finding]:
    """One invariant on a target at one case, judged, with the causes of failures.

    Raises UsageError for an unknown invariant, AdapterError when the target cannot be driven at this case.
    """
    entry = registry.invariant[invariant]
    plan = runner.Plan(
        adapter=Driven(target), case=case, checks=(entry,), level="standard", oracles=None, tolerance=None, seed=seed
    )
    return list(runner.run(plan))


def cast(case: Case, dtype: str) -> Case:
    """The case with its floating-point arguments in another precision; its name says so."""

    def narrow(v: Any) -> Any:
        return v.astype(dtype) if isinstance(v, np.ndarray) and differentiable(v) else v

    return replace(
        case,
        name=f"{case.name}/{dtype}",
        primals={k: narrow(v) for k, v in case.primals.items()},
        constants={k: narrow(v) for k, v in case.constants.items()},
    )
