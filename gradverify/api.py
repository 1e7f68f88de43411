"""``verify``: the one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify import runner
from gradverify.adapters._adapt import adapt
from gradverify.adapters._bind import hint
from gradverify.adapters._containers import unpacked
from gradverify.adapters._padded import Padded
from gradverify.adapters._seeds import kept
from gradverify.errors import AdapterError, UsageError
from gradverify.inputs import arrays_of, as_out, plain_constants, stored
from gradverify.report import Report
from gradverify.sampling import evaluate, quiet
from gradverify.surrogates import truth_of
from gradverify.types import Adapter, Case, Finding, differentiable, leaves


def verify(
    subject: Any,
    primals: Mapping[str, Any] | None = None,
    *,
    constants: Mapping[str, Any] | None = None,
    upstream: Any = None,
    wrt: Sequence[str] | str | None = None,
    checks: Sequence[str] | None = None,
    oracles: Sequence[str] | None = None,
    level: str = "standard",
    device: str | None = None,
    dtype: str | None = None,
    tolerance: float | None = None,
    surrogate: Callable[..., Any] | str | None = None,
    seed: int = 0,
    name: str | None = None,
    repeat: Callable[[str], str] | None = None,
) -> Report:
    """Is the gradient of ``subject`` right at ``primals``, how sure are we, where is it wrong, and why.

    subject    two functions ``(forward, backward)``; an object with forward/backward; a function returning
               ``(loss, gradients)``; a ``torch.autograd.Function``; a ``torch.nn.Module``; an Adapter
    primals    name -> array (or torch tensor) to differentiate, or a dict or list of such for a function that takes
               one; parameters found on an object are added
    constants  name -> anything handed to the forward unchanged: labels, masks, settings
    upstream   the cotangent, shaped like the output; drawn at random if absent
    wrt        judge the gradients of these primals only
    checks     names of checks (``gradverify list checks``); default: all of ``level``
    oracles    names of oracles that may be consulted; default: all that apply
    level      "quick", "standard" or "thorough"
    device     for torch subjects, e.g. "cuda"
    dtype      compute in this precision: "float64", "float32", "float16", "bfloat16"; default: the arrays' own
    tolerance  relative to the largest entry of each gradient, in place of the derived budget; 0 means 0
    surrogate  backward is deliberately not the derivative: a function whose derivative it is, or a sentence that
               says why, which leaves the value unjudged
    seed       of everything drawn
    Returns a Report. Raises UsageError for a call that does not fit, AdapterError for a subject that cannot be driven.
    """
    start = time.perf_counter()
    primals, containers = unpacked({} if primals is None else primals, constants, subject)
    if containers is not None:
        subject, wrt = containers.subject(subject), containers.arrays_of(wrt)
    given = arrays_of(primals, dtype)
    fixed = plain_constants({} if constants is None else constants, dtype, given)
    adapter: Adapter = adapt(subject, primals or given, constants=fixed, device=device, dtype=dtype)
    found = _parameters(adapter, given, fixed, dtype)
    case = Case(name=name or "given", primals={**given, **found}, constants=fixed, upstream=as_out(upstream, dtype))
    adapter, case = _without_padding(adapter, case)
    _usable(case, adapter)
    wanted = _wanted(wrt, case)
    truth, unjudged = truth_of(surrogate, adapter, case)
    plan = runner.Plan(
        adapter=stored(adapter, dtype),
        case=case,
        checks=runner.choose(tuple(checks) if checks is not None else None, level),
        level=level,
        oracles=_known_oracles(oracles),
        tolerance=_tolerance(tolerance),
        seed=seed,
        truth=truth,
        unjudged=unjudged,
        repeat=repeat or _repeat(adapter, seed),
    )
    before = _fingerprints(case)
    with kept():
        findings = _only(list(runner.run(plan)), wanted)
    _unwritten(before, _fingerprints(case), adapter)
    return Report.of(findings, seconds=time.perf_counter() - start, seed=seed, level=level, adapter=adapter.name)


def _parameters(
    adapter: Adapter, given: Mapping[str, Any], constants: Mapping[str, Any], dtype: str | None
) -> dict[str, Any]:
    """Primals that live on the object, at their current values."""
    prepare = getattr(adapter, "prepare", None)
    if prepare is not None and not given and not constants:  # the data may be on the object too
        try:
            prepare({}, {})
        except AdapterError as error:
            raise UsageError(
                f"no primals: none were given, and without any {adapter.name} does not run: {error}. "
                "Write gv.verify(subject, {'x': x}), or constants={'x': x} to judge the parameters only"
            ) from error
    own = getattr(adapter, "parameters", None)
    return {k: v for k, v in arrays_of(own(), dtype).items() if k not in given} if own is not None else {}


def _usable(case: Case, adapter: Adapter) -> None:
    if not case.primals:
        raise UsageError(
            f"no primals: none were given, and no parameters with gradients were found on {adapter.name}; "
            "write gv.verify(subject, {'x': x}) with the arrays to differentiate"
        )
    if not any(differentiable(v) for v in case.primals.values()):
        said = ", ".join(f"{k} is {v.dtype}" for k, v in case.primals.items())
        raise UsageError(f"none of the primals is floating-point ({said}); write {{'x': x.astype(float)}}")
    if not any(v.size for v in case.primals.values() if differentiable(v)):
        said = ", ".join(f"{k} has shape {v.shape}" for k, v in case.primals.items())
        raise UsageError(f"there is no entry to differentiate ({said}); give arrays that are not empty")
    for k, v in case.primals.items():
        if differentiable(v) and np.isnan(np.sum(v)) and np.isnan(v).any():  # the sum alone is quick: infinities too
            at = tuple(int(i) for i in np.argwhere(np.isnan(v))[0])
            raise UsageError(f"primal {k!r} is NaN at {at}: there is no derivative there; give finite numbers")


def _without_padding(adapter: Adapter, case: Case) -> tuple[Adapter, Case]:
    """NaN entries that the forward leaves out, so that what it returns is finite, are padding and no point."""
    floats = {k: v for k, v in case.primals.items() if v.dtype.kind == "f" and np.isnan(np.sum(v))}
    holes = {k: at for k, v in floats.items() if (at := np.isnan(v)).any() and not at.all()}
    if not holes or getattr(adapter, "framework", "numpy") not in ("numpy", "torch"):
        return adapter, case
    try:
        with quiet():
            out = evaluate(adapter, case)
    except (ArithmeticError, ValueError, AdapterError, np.linalg.LinAlgError):
        return adapter, case
    if not all(np.all(np.isfinite(v)) for v in leaves(out).values()):
        return adapter, case
    shown = {k: np.where(at, np.nanmedian(floats[k]), floats[k]).astype(floats[k].dtype) for k, at in holes.items()}
    return Padded(adapter, holes), case.at({**case.primals, **shown})


def _fingerprints(case: Case) -> dict[str, float]:
    """A number for each primal that is a view of the caller's array, which another value gives away."""
    return {k: float(np.sum(v, dtype=float)) for k, v in case.primals.items() if v.base is not None}


def _unwritten(before: Mapping[str, float], after: Mapping[str, float], adapter: Adapter) -> None:
    for k, number in before.items():
        if number != after[k] and not np.isnan(number):
            raise AdapterError(
                f"{adapter.name} wrote to the array that was given as {k!r} while it was judged (large arrays are not "
                f"copied first): work on a copy, or give {k}.copy()"
            )


def _known_oracles(names: Sequence[str] | None) -> tuple[str, ...] | None:
    from gradverify import registry

    return None if names is None else tuple(registry.oracle[n].name for n in names)


def _tolerance(value: float | None) -> float | None:
    if value is not None and not value >= 0:
        raise UsageError(f"tolerance={value!r}; it is relative and not negative, for example tolerance=1e-6")
    return value


def _repeat(adapter: Adapter, seed: int) -> Callable[[str], str]:
    return lambda check: f'gv.verify(..., checks=["{check}"], seed={seed})  # {adapter.name}'


def _wanted(wrt: Sequence[str] | str | None, case: Case) -> tuple[str, ...] | None:
    """The names of ``wrt``. Raises UsageError for one that is no primal."""
    if wrt is None:
        return None
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for n in names:
        if n not in case.primals:
            known = ", ".join(case.primals)
            raise UsageError(f"wrt names {n!r}, which is no primal{hint(n, case.primals)} The primals are {known}")
    return names


def _only(findings: list[Finding], wrt: tuple[str, ...] | None) -> list[Finding]:
    """Findings about other primals than those of ``wrt`` are left out."""
    if wrt is None:
        return findings
    kept = []
    for f in findings:
        about = f.facts.get("primal")
        if about is None or about in wrt:
            kept.append(f)
    return [replace(f) for f in kept]
