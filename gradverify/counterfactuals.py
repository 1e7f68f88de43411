"""Bugs played through on the recorded forward: which of them give the gradients that were got."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from gradverify.bench import LiveBench
from gradverify.errors import GradverifyError
from gradverify.sampling import quiet
from gradverify.types import Array, Case, Gradients, Out, differentiable, leaves

SECONDS = 3.0  #: for playing bugs through, per bench
FORWARDS = 30  #: where a forward is dear, the time of so many forwards
PASSES = 600  #: backward passes at most
MORE = 60  #: passes after one that explains everything: others may explain it in simpler words
NEARER = 0.1  #: how much of the difference a hypothesis may leave over
KEEP = 2_000_000  #: numbers of single ways that are kept, to be looked at two by two
Found = tuple[str, Mapping[str, Array]]


@dataclass(frozen=True)
class Known:
    """What was got and wanted where both are numbers of one shape, and what is wrong."""

    got: dict[str, Array]
    want: dict[str, Array]
    tol: dict[str, Array]
    failing: tuple[str, ...]

    @classmethod
    def of(cls, got: Gradients, want: Mapping[str, Array], rounding: Mapping[str, float]) -> Known:
        both = {
            k: (np.asarray(g, dtype=float), np.asarray(want[k], dtype=float))
            for k, g in got.items()
            if g is not None and k in want and np.shape(g) == np.shape(want[k]) and np.size(g)
        }
        both = {k: p for k, p in both.items() if np.all(np.isfinite(p[0])) and np.all(np.isfinite(p[1]))}
        tol = {k: _tolerance(w, rounding.get(k, 0.0)) for k, (_, w) in both.items()}
        failing = tuple(k for k, (g, w) in both.items() if not np.all(np.abs(g - w) <= tol[k]))
        return cls({k: g for k, (g, _) in both.items()}, {k: w for k, (_, w) in both.items()}, tol, failing)

    def explained(self, gradients: Mapping[str, Array]) -> set[str]:
        """The primals whose gradients, as got, are these."""
        return {
            k
            for k, g in self.got.items()
            if k in gradients
            and gradients[k].shape == g.shape
            and np.all(np.isfinite(gradients[k]))
            and self._same(k, np.abs(gradients[k] - g), gradients[k])
        }

    def _same(self, name: str, gap: Array, said: Array) -> bool:
        """Within rounding, and where something is wrong much nearer than what was wanted."""
        if not np.all(gap <= 4 * self.tol[name] + 1e-13 * np.max(np.abs(said), initial=0.0)):
            return False
        wrong = float(np.max(np.abs(self.got[name] - self.want[name])))
        return name not in self.failing or float(np.max(gap)) <= NEARER * wrong


def _tolerance(want: Array, rounding: float) -> Array:
    size = float(np.max(np.abs(want), initial=0.0))
    return np.full(want.shape, max(rounding, 8 * float(np.finfo(float).eps) * size))


def seconds(bench: LiveBench) -> float:
    """What playing bugs through may take: SECONDS, and where a forward is dear no more than the check itself did."""
    known = bench.consultation
    return min(SECONDS, FORWARDS * known.forward.cost()) if known is not None and known.dear else SECONDS


def what_if(bench: LiveBench, known: Known) -> Iterator[Found]:
    """(name of a bug: where, the gradients that the forward would have with it) for those that explain a primal."""
    from gradverify.tracing.whatif import hypotheses, replacements

    end, left = time.thread_time() + seconds(bench), PASSES
    try:
        with quiet():
            network = _network(bench, {})
    except (GradverifyError, RuntimeError, TypeError, ValueError, AttributeError, KeyError, NotImplementedError):
        return
    cuts: list[Cut] = []
    complete, size = False, sum(w.size for w in known.want.values())
    with quiet():
        every = hypotheses(network, replacements(network, lambda new: _network(bench, new)))
        for played in chain(_elsewhere(bench, known), every):
            left -= 1
            if left < 0 or time.thread_time() > end:
                break
            found = known.explained(played.gradients)
            if found & set(known.failing):
                samples = played.cause == "missing-term" and played.of > 1 and played.of in _batch(bench)
                yield f"{'dropped-samples' if samples else played.cause}: {played.words}", played.gradients
                if found == set(known.got):
                    left, complete = min(left, MORE), True
            elif played.cut:
                cut = Cut(played.words, {k: known.want[k] - played.gradients[k] for k in known.want})
                if len(cuts) * size < KEEP:
                    cuts.append(cut)
                if (weighted := _weighted(cut, known)) is not None:
                    yield weighted
                    if known.explained(weighted[1]) == set(known.got):
                        left, complete = min(left, MORE), True
        if not complete:
            yield from _pairs(cuts, known)


@dataclass(frozen=True)
class Cut:
    """What came by one way."""

    words: str
    share: dict[str, Array]


def _weighted(cut: Cut, known: Known) -> Found | None:
    """One way is counted with another factor than 1: fitted over all failing primals, or over one."""
    for names in (known.failing, *((k,) for k in known.failing if len(known.failing) > 1)):
        top = sum(float(np.sum((known.got[k] - known.want[k]) * cut.share[k])) for k in names)
        below = sum(float(np.sum(cut.share[k] ** 2)) for k in names)
        clear = sum(int(np.sum(np.abs(cut.share[k]) > 8 * known.tol[k])) for k in names)
        if not below or not np.isfinite(below) or clear < 3:
            continue
        c = top / below
        if abs(c) < 1e-3 or not np.isfinite(c):
            continue
        gradients = {k: known.want[k] + c * cut.share[k] for k in known.want}
        if set(names) <= known.explained(gradients):
            factor = 1 + c
            if abs(factor + 1) < 1e-9:
                return f"sign: {cut.words}, with the opposite sign", gradients
            if abs(factor - 2) < 1e-9:
                return f"extra-term: {cut.words}, counted twice", gradients
            return f"scale: {cut.words}, counted {_number(factor)} times", gradients
    return None


def _number(value: float) -> str:
    for n in range(1, 1025):
        for sign in (1, -1):
            if abs(value * n - sign) < 1e-9:
                return f"{'-' if sign < 0 else ''}1/{n}" if n > 1 else str(sign)
            if abs(value - sign * n) < 1e-9 * n:
                return str(sign * n)
    return f"{value:.6g}"


def _pairs(cuts: list[Cut], known: Known) -> Iterator[Found]:
    """Two ways are missing at once."""
    names = known.failing
    size = sum(known.got[k].size for k in names)
    if not size >= 3 or size * len(cuts) > KEEP:
        return
    tol = np.concatenate([known.tol[k].ravel() for k in names])
    residual = np.concatenate([(known.want[k] - known.got[k]).ravel() for k in names])
    shares = np.array([np.concatenate([c.share[k].ravel() for k in names]) for c in cuts]).reshape(len(cuts), size)
    some = np.flatnonzero(np.any(np.abs(shares) > 8 * tol, axis=1))
    for a in some:
        rest = residual - shares[a]
        for b in some[some > a]:
            if np.all(np.abs(rest - shares[b]) <= 8 * tol):
                gradients = {k: known.want[k] - cuts[a].share[k] - cuts[b].share[k] for k in known.want}
                yield f"missing-term: {cuts[a].words}, and {cuts[b].words}", gradients
                return


def _batch(bench: LiveBench) -> set[int]:
    """Lengths of leading axes of the data."""
    data = [v for v in bench.case.constants.values() if isinstance(v, np.ndarray)] or list(bench.case.primals.values())
    return {len(v) for v in data if np.ndim(v)}


def _elsewhere(bench: LiveBench, known: Known) -> Iterator[Any]:
    """A function entry by entry whose derivative is taken at its own value."""
    from gradverify.tracing.whatif import Played

    out = bench.out
    if len(known.got) != 1 or not isinstance(out, np.ndarray):
        return
    (name,) = known.got
    if out.shape != known.got[name].shape or np.array_equal(out, bench.case.primals[name]):
        return
    try:
        gradients = _network(bench, {name: np.asarray(out, dtype=float)}).right
    except (GradverifyError, RuntimeError, TypeError, ValueError, AttributeError, KeyError, NotImplementedError):
        return
    words = "the derivative of forward at its value instead of at its argument"
    yield Played(cause="derivative-of-activation-not-preactivation", words=words, gradients=gradients)


def _network(bench: LiveBench, new: Mapping[str, Array]) -> Any:
    """The recorded forward with the upstream of the case, some primals replaced."""
    consultation = bench.consultation
    assert consultation is not None  # asked for in evidence_of
    case, truth = consultation.forward.case, bench.truth
    case = case.at({k: np.asarray(v, dtype=case.primals[k].dtype) for k, v in new.items()}) if new else case
    call: Callable[..., Any] = truth.call  # type: ignore[attr-defined]  # an autodiff exists, so truth has it
    if getattr(truth, "framework", "numpy") == "torch":
        return _torch_network(truth, call, case, bench.upstream)
    from gradverify.tracing import trace

    upstream: Any = {k: np.asarray(v, dtype=float) for k, v in leaves(bench.upstream).items()}
    traced = trace(call, {k: np.array(v) for k, v in case.primals.items()}, case.fixed(), explain=True)
    return traced.network(upstream[""] if set(upstream) == {""} else upstream)


def _torch_network(truth: Any, call: Callable[..., Any], case: Case, upstream: Out) -> Any:
    import torch

    from gradverify.sampling import widened
    from gradverify.tracing.whatif import Mark, Network, marked

    device = getattr(truth, "device", None) or "cpu"
    leaf, given = {}, {}
    for k, v in case.primals.items():
        tensor = torch.tensor(widened(v) if differentiable(v) else np.array(v), device=device)
        if differentiable(v):
            leaf[k] = tensor.requires_grad_()
        given[k] = tensor.clone()
    marks: list[Mark] = []
    with torch.enable_grad(), marked(marks):
        outs = leaves(call(given, case.fixed()))
    weights = {k: torch.tensor(np.asarray(w, float), device=device) for k, w in leaves(upstream).items()}
    return Network(leaf, {k: outs[k] for k in weights}, weights, marks)
