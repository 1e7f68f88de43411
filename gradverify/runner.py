"""plan() says what will be asked, run() asks it. Prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradverify import blind, points, registry
from gradverify.bench import LiveBench
from gradverify.errors import AdapterError, GradverifyError, Unsupported, UsageError, refusal
from gradverify.evidence import evidence_of, told
from gradverify.judge import judge
from gradverify.registry import Entry
from gradverify.tally import largest
from gradverify.types import Adapter, Case, Cause, Check, Finding, Measurement, Verdict, leaves, like, rng_for

LEVELS = ("quick", "standard", "thorough")
VALUE = "pullback-matches-oracle"
ROUNDINGS = 8.0  #: that two kernels for the same forward may be apart: with and without a gradient, say
NOISY = 1e-4  #: relative differences between calls below this are noise of a function, above it there is no function
#: checks that ask nothing twice: all that is left where the forward does not repeat itself
UNREPEATABLE = frozenset({"shape", "finite", "dtype-preserved", "integers-get-no-gradient"})
EXPLAINED = 8  #: failing measurements of one point that are explained; a network of sixty layers has one bug
POINTS = {"quick": 1, "standard": 1, "thorough": 3}  #: drawn beside a given point that cannot tell


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will ask of one adapter at one case.

    truth  an adapter whose forward the oracles use instead (surrogate gradients), or None
    unjudged  a sentence: the value is deliberately not the derivative and is left unjudged
    repeat  check name -> the command that asks just this again
    """

    adapter: Adapter
    case: Case
    checks: tuple[Entry[Check], ...]
    level: str
    oracles: tuple[str, ...] | None
    tolerance: float | None
    seed: int
    truth: Adapter | None = None
    unjudged: str = ""
    repeat: Callable[[str], str] = lambda _: ""


def choose(names: tuple[str, ...] | None, level: str) -> tuple[Entry[Check], ...]:
    """The checks of a level, requirements first; or those named, with what they require.

    Raises UsageError for an unknown level or check.
    """
    if level not in LEVELS:
        raise UsageError(f"level={level!r}; the levels are {', '.join(LEVELS)}")
    entries = {e.name: e for e in registry.check.entries()}
    if names is not None and any(n not in entries for n in names):
        entries |= {e.name: e for e in registry.invariant.entries()}  # asked for by name, they are checks like others
    if names is None:
        rank = LEVELS.index(level)
        chosen = [n for n, e in entries.items() if LEVELS.index(e.meta.get("level", "standard")) <= rank]
    else:
        chosen = [n if n in entries else registry.check[n].name for n in names]
    ordered: list[str] = []

    def add(name: str) -> None:
        for needed in entries[name].meta.get("requires", ()):
            add(needed)
        if name not in ordered:
            ordered.append(name)

    for name in sorted(chosen, key=lambda n: (n != "shape", n != VALUE, n)):
        add(name)
    return tuple(entries[n] for n in ordered)


def run(plan: Plan) -> Iterator[Finding]:
    """The findings, one per judged measurement, in the order of the checks.

    Raises AdapterError when the implementation cannot be driven at the given case at all.
    """
    bench = _bench(plan, plan.case)
    bench.gradients()
    spread, size = _spread(bench)
    if spread > max(NOISY, ROUNDINGS * bench.eps) * size:
        reason = (
            f"the forward is not a function: at the same point its value differs by {spread:.1e} from call to call; "
            "fix the seed, pass the random mask as a constant, or reset the state in forward"
        )
        yield _finding(plan, plan.case, VALUE, of="forward", verdict=Verdict.INCONCLUSIVE, why=reason,
                       causes=(Cause(name="nondeterministic", evidence=reason),))  # fmt: skip
        plan = replace(plan, unjudged=reason, checks=_unrepeatable(plan))
    elif spread > 1e4 * bench.eps * size:
        bench.noise = spread
        plan = replace(plan, checks=_unrepeatable(plan))
    failed: dict[str, str] = {}
    for entry in plan.checks:
        broken = next((r for r in entry.meta.get("requires", ()) if r in failed), None)
        if broken:
            yield _finding(plan, plan.case, entry.name, verdict=Verdict.SKIPPED, why=f"because {broken} failed")
            failed.setdefault(entry.name, broken)
            continue
        if entry.name == VALUE and plan.unjudged:
            yield _finding(plan, plan.case, VALUE, verdict=Verdict.SKIPPED, why=plan.unjudged)
            continue
        for finding in _asked(plan, bench, entry):
            if finding.verdict is Verdict.FAIL:
                failed[entry.name] = finding.why
            yield finding
        if entry.name == VALUE:
            yield from _oracle_findings(plan, bench)
            if VALUE not in failed:
                yield from _beside(plan, bench)


def _bench(plan: Plan, case: Case) -> LiveBench:
    bench = LiveBench(plan.adapter, case, level=plan.level, seed=plan.seed, oracles=plan.oracles, truth=plan.truth)
    bench.declared = plan.unjudged
    return bench


def _asked(plan: Plan, bench: LiveBench, entry: Entry[Check]) -> Iterator[Finding]:
    """One check on one bench, judged as it goes."""
    start, nothing, reason = time.perf_counter(), True, ""
    before = _evaluations(bench)
    try:
        for m in entry.item(bench):
            nothing = False
            now, spent = time.perf_counter(), _evaluations(bench)
            yield _judged(plan, bench, entry, m, seconds=now - start, evaluations=spent - before)
            start, before = now, spent
    except Unsupported as error:
        reason = str(error)  # the adapter cannot do this here: what was measured until then stands
    except AdapterError as error:
        if said := refusal(error):
            why = f"the implementation refuses that itself: {said}"
            yield _finding(plan, bench.case, entry.name, verdict=Verdict.SKIPPED, why=why)
            return
        catches = entry.meta.get("catches", ())
        said = " ".join([str(error), *getattr(error, "__notes__", ())])  # the notes of a check say at what it raised
        yield _finding(
            plan, bench.case, entry.name, verdict=Verdict.FAIL, why=f"raises although the plain call works: {said}",
            n_compared=1, n_wrong=1, causes=blind.by_check(entry.name, catches, said),
        )  # fmt: skip
        return
    except GradverifyError:
        raise
    except Exception as error:  # noqa: BLE001  (a check of ours or a third party's must not take the run with it)
        why = f"the check itself failed: {type(error).__name__}: {error}"
        yield _finding(plan, bench.case, entry.name, verdict=Verdict.ERROR, why=why)
        return
    if nothing:
        unasked = Verdict.INCONCLUSIVE if entry.name == VALUE and reason else Verdict.SKIPPED  # no pass without a value
        yield _finding(plan, bench.case, entry.name, verdict=unasked, why=reason or "nothing to measure here")


def _judged(
    plan: Plan, bench: LiveBench, entry: Entry[Check], m: Measurement, *, seconds: float, evaluations: int
) -> Finding:
    verdict = judge(m, plan.tolerance if entry.name == VALUE else None)
    causes: tuple[Any, ...] = ()
    spots: tuple[str, ...] = ()
    if verdict.verdict is Verdict.FAIL and bench.explained < EXPLAINED:
        from gradverify.causes._rank import name_causes

        bench.explained += 1
        try:
            at, asked = (bench, entry.name) if m.bench is None else (m.bench, VALUE)
            causes = name_causes(told(m), evidence_of(at, asked))
        except Exception as error:  # noqa: BLE001  (a recogniser that stumbles must not turn a fail into an error)
            m = replace(m, notes=(*m.notes, f"no cause was looked for to the end: {type(error).__name__}: {error}"))
    elif verdict.verdict is Verdict.PASS and entry.name == VALUE:
        spots = blind.spots(m, bench)
    said = getattr(bench.adapter, "notes", ()) if entry.name == VALUE else ()
    return _finding(
        plan,
        bench.case,
        entry.name,
        of=m.of,
        oracle=m.oracle,
        notes=(*m.notes, *said),
        causes=causes,
        blind_spots=spots,
        seconds=seconds,
        evaluations=evaluations,
        facts=m.facts,
        **vars(verdict),
    )


def _finding(plan: Plan, case: Case, check: str, *, verdict: Verdict, of: str = "", **more: Any) -> Finding:
    return Finding(
        adapter=plan.adapter.name,
        case=case.name,
        check=check,
        of=of,
        verdict=verdict,
        repeat=plan.repeat(check),
        **more,
    )


def _evaluations(bench: LiveBench) -> int:
    return bench.consultation.forward.evaluations if bench.consultation else 0


def _unrepeatable(plan: Plan) -> tuple[Entry[Check], ...]:
    return tuple(e for e in plan.checks if e.name in UNREPEATABLE or e.name == VALUE)


def _spread(bench: LiveBench) -> tuple[float, float]:
    """(largest difference between values of the forward at the same point, largest value)."""
    from gradverify.sampling import evaluate, quiet

    with quiet():
        start = time.process_time()
        outs = [evaluate(bench.truth, bench.case)]
        seconds = time.process_time() - start
        bench.plain = like(outs[0], {k: np.array(v) for k, v in leaves(outs[0]).items()}), seconds
        if bench.truth is not bench.adapter:
            outs.append(evaluate(bench.truth, bench.case))
    values = [leaves(out) for out in outs]
    first = leaves(bench.out) if bench.truth is bench.adapter else values[0]
    spread, size = 0.0, 0.0
    for k, v in first.items():
        a = np.asarray(v, dtype=complex if np.iscomplexobj(v) else float)
        size = max(size, largest(a))
        for other in values:
            if np.array_equal(v, other[k]):
                continue
            b = np.asarray(other[k], dtype=complex if np.iscomplexobj(other[k]) else float)
            with np.errstate(invalid="ignore"):
                apart = np.abs(a - b) if a.shape == b.shape else np.array(np.inf)
            spread = max(spread, float(np.max(apart[~np.isnan(apart)], initial=0.0)))
    return spread, size


def _oracle_findings(plan: Plan, bench: LiveBench) -> Iterator[Finding]:
    """Disagreement between oracles is a finding about the oracle."""
    consultation = bench.consultation
    for name in consultation.unfed if consultation else ():
        yield _finding(
            plan, bench.case, VALUE, of=f"gradient of {name}", verdict=Verdict.SKIPPED,
            why=f"backward returns the gradients of its parameters and none for {name}, which it is fed",
        )  # fmt: skip
    for sentence in consultation.disagreements if consultation else ():
        yield _finding(
            plan, bench.case, "oracles-agree", of="oracles", oracle="torch-autograd", verdict=Verdict.SKIPPED,
            why=f"{sentence}; the gradient was judged by differences instead",
        )  # fmt: skip


def _beside(plan: Plan, bench: LiveBench) -> Iterator[Finding]:
    """The value check at points drawn beside one that cannot tell."""
    given = plan.case
    reasons = points.cannot_tell(given)
    if not reasons:
        return
    value = registry.check[VALUE]
    for i in range(POINTS[plan.level]):
        rng = rng_for(plan.seed, given.name, "beside", str(i))
        symmetric = bench.consultation.symmetric if bench.consultation else ()
        case = points.beside(given, rng, f"{given.name}~{i + 1}", symmetric)
        try:
            other = _bench(plan, case)
            if not points.finite(leaves(other.out)):
                continue
            found = list(_asked(plan, other, value))
        except AdapterError:
            continue  # outside the domain: the forward says so by raising
        for finding in found:
            if finding.verdict in (Verdict.PASS, Verdict.FAIL):
                note = f"drawn beside the given point, which cannot tell: {'; '.join(reasons)}"
                yield replace(finding, notes=(*finding.notes, note))
