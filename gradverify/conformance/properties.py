"""Every invariant on generated cases of every op that a target has; failures shrink to the smallest case."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import hypothesis
import numpy as np
from hypothesis.errors import Flaky, Unsatisfiable

from gradverify import registry, strategies
from gradverify.bench import LiveBench
from gradverify.cases import cases_of
from gradverify.conformance.asking import ask_invariant
from gradverify.conformance.code import as_code
from gradverify.conformance.loading import load_target
from gradverify.conformance.target import Driven, capabilities_of
from gradverify.errors import AdapterError, UsageError
from gradverify.judge import judge
from gradverify.registry import Entry
from gradverify.report import Report
from gradverify.types import Case, Finding, Verdict, rng_for

SEARCHED = 30  #: cases of each size that are tried for the smallest failure
DEEP = frozenset({"network", "deep_network"})
_EMPTY = Case(name="empty", primals={})


def check_invariants(
    target: Any,
    *,
    invariants: Sequence[str] | None = None,
    ops: Sequence[str] | None = None,
    max_examples: int = 10,
    dtype: str = "float64",
    seed: int = 0,
) -> Report:
    """Properties that need no oracle, on cases that Hypothesis generates and shrinks: one row per invariant and op.

    target        a Target, ``"package.module:name"``, or the adapter of a single op together with ``ops=["that op"]``
    invariants    names (``gradverify list invariants``); default: all
    ops           names of ops of the catalogue; default: all that the target supports
    max_examples  per invariant and op
    A failing row shows the smallest case that was found, as code that runs, in its notes.
    Raises UsageError for unknown names, and for a target that does not say which ops it has when ``ops`` is not given.
    """
    start = time.perf_counter()
    spec = target if isinstance(target, str) else _importable(target)
    found = load_target(target) if isinstance(target, str) else target
    if ops is None and not hasattr(found, "supports"):
        raise UsageError(f"{found.name} does not say which ops it has; name them, for example ops=['relu']")
    wanted = [op for op in strategies.ops() if any(map(found.supports, cases_of(op)))] if ops is None else list(ops)
    for op in wanted:
        strategies.cases(op)  # raises for an op that has no strategy
    entries = registry.invariant.entries() if invariants is None else [registry.invariant[n] for n in invariants]
    reasons = {e.name: capabilities_of(found).reason(e.name) for e in entries}
    findings = [_row(found, e, "", Verdict.SKIPPED, why=reasons[e.name]) for e in entries if reasons[e.name]]
    for op in wanted:
        asked = [e for e in entries if not reasons[e.name] and (not e.meta.get("ops") or op in e.meta["ops"])]
        if asked:
            findings += _Search(found, op, dtype, max_examples, seed, spec).findings(asked)
    return Report.of(
        findings, seconds=time.perf_counter() - start, seed=seed, adapter=found.name, examples=max_examples
    )


class _Broken(Exception):
    """An example breaks an invariant."""


@dataclass
class _Tally:
    """What the examples said about one invariant."""

    entry: Entry[Any]
    tried: int = 0
    compared: int = 0
    resolution: float = 0.0
    seconds: float = 0.0
    vague: str = ""
    broken: Case | None = None
    reason: str = ""

    def ask(self, bench: LiveBench) -> None:
        """One example. Raises _Broken when it breaks the invariant."""
        self.tried += 1
        start = time.perf_counter()
        bench.rng = rng_for(bench.seed, bench.adapter.name, bench.case.name)  # as if it were asked alone
        try:
            for m in self.entry.item(bench):
                found = judge(m)
                if found.verdict is Verdict.FAIL:
                    self._break(bench.case, f"{m.of}: {found.why}")
                if found.verdict is Verdict.PASS and (found.resolution or 0.0) > 1:
                    self.vague = "all numbers are smaller than their own rounding"
                elif found.verdict is Verdict.PASS:
                    self.compared += found.n_compared
                    self.resolution = max(self.resolution, found.resolution or 0.0)
                else:
                    self.vague = found.why
        except AdapterError as error:
            self._break(bench.case, str(error))
        finally:
            self.seconds += time.perf_counter() - start

    def _break(self, case: Case, reason: str) -> NoReturn:
        self.broken, self.reason = replace(case, upstream=None), reason  # the upstream is drawn again, the same
        raise _Broken


@dataclass
class _Search:
    """All invariants on one op: first on the same generated cases, then those that broke by themselves, to shrink."""

    target: Any
    op: str
    dtype: str
    max_examples: int
    seed: int
    spec: str

    def findings(self, entries: Sequence[Entry[Any]]) -> Iterator[Finding]:
        """One row for an invariant that held; else the rows of the smallest case that breaks it."""
        tallies = [_Tally(e) for e in entries]
        reason = self._drive(tallies, stop=False)
        for tally in tallies:
            if reason:
                yield _row(self.target, tally.entry, self._name, Verdict.ERROR, of="generated cases", why=reason)
            elif tally.broken is not None:
                yield from self._failures(self._smallest(tally))
            elif tally.tried:
                yield self._held(tally)

    def _smallest(self, tally: _Tally) -> _Tally:
        """The tally of the smallest case that breaks it: shrunk by Hypothesis, then as long as a smaller one breaks."""
        best = tally
        layers = sum(k.startswith("W") for k in (tally.broken or _EMPTY).primals)
        deep = self.op in DEEP and layers > 1  # a smaller size has fewer layers there
        for largest in (*(range(1, strategies.LARGEST) if deep else ()), strategies.LARGEST):
            alone = _Tally(tally.entry)
            self._drive([alone], stop=True, largest=largest)
            if alone.broken is not None:
                best = alone
                break
        while (less := self._one_less(best)) is not None:
            best = less
        return best

    def _one_less(self, tally: _Tally) -> _Tally | None:
        """A tally broken by a case that is smaller by one along one length, if there is one."""
        adapter = Driven(self.target)
        for case in strategies.smaller(tally.broken or _EMPTY):
            if not tally.entry.meta.get("applies", _always)(case) or not adapter.supports(case):
                continue
            alone = _Tally(tally.entry)
            try:
                bench = LiveBench(adapter, case, seed=self.seed)
                bench.gradients()
            except Exception:  # noqa: BLE001  (arrays that no longer fit: the target may raise anything)
                continue
            with contextlib.suppress(_Broken):
                alone.ask(bench)
            if alone.broken is not None:
                return replace_tried(alone, tally)
        return None

    @property
    def _name(self) -> str:
        return f"{self.op}/generated" + ("" if self.dtype == "float64" else f"/{self.dtype}")

    def _drive(self, tallies: Sequence[_Tally], *, stop: bool, largest: int = strategies.LARGEST) -> str:
        """Ask on generated cases; with ``stop``, shrink the first that breaks. Returns why it cannot be driven."""
        adapter = Driven(self.target)
        reason = ""

        @hypothesis.seed(self.seed)
        @hypothesis.settings(
            max_examples=max(self.max_examples, SEARCHED) if stop else self.max_examples,
            database=None,
            deadline=None,
            print_blob=False,
            report_multiple_bugs=False,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink) if stop else (hypothesis.Phase.generate,),
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(strategies.cases(self.op, dtype=self.dtype, largest=largest))
        def hunt(drawn: Case) -> None:
            nonlocal reason
            case = replace(drawn, name=self._name)
            case = case if capabilities_of(self.target).subnormals else without_subnormals(case)
            asked = [t for t in tallies if t.entry.meta.get("applies", _always)(case) and (stop or t.broken is None)]
            hypothesis.assume(asked and adapter.supports(case))
            try:
                bench = LiveBench(adapter, case, seed=self.seed)
                bench.gradients()
            except AdapterError as error:
                reason = reason or str(error)
                return
            for tally in asked:
                try:
                    tally.ask(bench)
                except _Broken:
                    if stop or all(t.broken is not None for t in tallies):
                        raise  # to shrink, or because there is nothing left to ask

        with contextlib.suppress(_Broken, Flaky, Unsatisfiable):  # flaky: it answers differently when asked again
            hunt()
        return reason

    def _held(self, tally: _Tally) -> Finding:
        of = f"{tally.tried} generated cases"
        spent: dict[str, Any] = {"seconds": tally.seconds, "facts": {"examples": tally.tried}, "of": of}
        if tally.compared:
            return _row(self.target, tally.entry, self._name, Verdict.PASS, n_compared=tally.compared,
                        resolution=tally.resolution, **spent)  # fmt: skip
        if tally.vague:
            return _row(self.target, tally.entry, self._name, Verdict.INCONCLUSIVE, why=tally.vague, **spent)
        return _row(self.target, tally.entry, self._name, Verdict.SKIPPED, why="nothing to measure here", **spent)

    def _failures(self, tally: _Tally) -> Iterator[Finding]:
        case = tally.broken
        assert case is not None  # the caller has looked
        name = tally.entry.name
        code = as_code(case, target=self.spec, invariant=name, seed=self.seed)
        note = f"the smallest case that was found, as code:\n{code}"
        facts = {"examples": tally.tried, "code": code}
        repeat = (
            f"check_invariants({self.spec!r}, invariants=[{name!r}], ops=[{self.op!r}], "
            f"dtype={self.dtype!r}, seed={self.seed})"
        )
        rows = [f for f in ask_invariant(self.target, case, name, seed=self.seed) if f.verdict is Verdict.FAIL]
        for f in rows:
            yield replace(f, notes=(*f.notes, note), facts={**f.facts, **facts}, repeat=repeat, seconds=tally.seconds)
        if not rows:
            more: dict[str, Any] = {"facts": facts, "repeat": repeat, "seconds": tally.seconds}
            yield _row(self.target, tally.entry, case.name, Verdict.FAIL, of="generated cases", why=tally.reason,
                       n_compared=1, n_wrong=1, notes=(note,), **more)  # fmt: skip


def without_subnormals(case: Case) -> Case:
    """The case with zeros where its numbers are smaller than the smallest normal one."""

    def flushed(v: Any) -> Any:
        floating = isinstance(v, np.ndarray) and v.dtype.kind == "f"
        return np.where(np.abs(v) < np.finfo(v.dtype).tiny, v.dtype.type(0), v) if floating else v

    primals = {k: flushed(v) for k, v in case.primals.items()}
    return replace(case, primals=primals, constants={k: flushed(v) for k, v in case.constants.items()})


def replace_tried(new: _Tally, old: _Tally) -> _Tally:
    """``new`` with what was counted until then."""
    new.tried += old.tried
    new.seconds += old.seconds
    return new


def _always(case: Case) -> bool:
    return True


def _row(target: Any, entry: Entry[Any], case: str, verdict: Verdict, *, of: str = "", **more: Any) -> Finding:
    return Finding(adapter=target.name, case=case, check=entry.name, of=of, verdict=verdict, **more)


def _importable(target: Any) -> str:
    """``package.module:name`` of a target that is an attribute of the module of its class, else ""."""
    home = type(target).__module__
    module = sys.modules.get(home)
    for name, value in vars(module).items() if module is not None else ():
        if value is target:
            return f"{home}:{name}"
    return ""
