"""What the cause recognisers are given about a failing bench, with experiments that they may run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from gradverify.bench import LiveBench
from gradverify.counterfactuals import Found, Known, what_if
from gradverify.errors import GradverifyError
from gradverify.sampling import evaluate
from gradverify.types import Arrays, Estimate, Evidence, Gradients, Measurement, Out

_KEPT: WeakKeyDictionary[Any, list[Found]] = WeakKeyDictionary()


def evidence_of(bench: LiveBench, check: str) -> Evidence:
    """Everything that is known about a failing check on this bench."""
    got = bench.gradients()
    measured = {str(m.facts.get("primal")): m for m in bench.settled()} if bench.consultation else {}
    want = {k: m.want for k, m in measured.items() if k in bench.case.primals and whole(m)}
    rounding = {k: float(np.max(m.rounding, initial=0.0)) for k, m in measured.items() if k in want}
    known_apart = bench.consultation.autodiff.gradients if bench.consultation and bench.consultation.autodiff else {}
    for k, said in known_apart.items():  # judged along directions only: entry by entry it is evidence, no judgement
        if k in want and want[k].value.shape != bench.case.primals[k].shape:
            want[k] = said
            rounding[k] = 64 * bench.eps * float(np.max(np.abs(said.value), initial=0.0))
    rounding = {k: r + float(np.nanmax(want[k].error, initial=0.0)) for k, r in rounding.items()}

    def played() -> Iterator[Found]:
        """The hypotheses that explain something, computed once per bench."""
        if bench not in _KEPT:
            known = Known.of(got, {k: e.value for k, e in want.items()}, rounding)
            _KEPT[bench] = list(what_if(bench, known)) if known.failing else []
        return iter(_KEPT[bench])

    return Evidence(
        check=check,
        case=bench.case,
        upstream=bench.upstream,
        out=bench.out,
        got=got,
        want=want,
        rounding=rounding,
        gradients=lambda primals, upstream: _gradients(bench, primals, upstream),
        dear=bench.consultation is not None and bench.consultation.dear,
        outputs=lambda primals: evaluate(bench.truth, bench.case.at(primals)),
        what_if=played if bench.consultation and bench.consultation.autodiff else lambda: _cut(bench),
    )


def whole(m: Measurement) -> bool:
    """Whether at least half of the entries of a measurement are known."""
    return bool(2 * np.count_nonzero(np.isfinite(m.want.error)) >= m.want.error.size)


def told(m: Measurement) -> Measurement:
    """A measurement that knows a few entries of an array only, as one of these entries."""
    if whole(m) or m.got.shape != m.want.value.shape:
        return m
    known = np.isfinite(m.want.error)
    parts: dict[str, Any] = {
        k: np.asarray(v)[known] for k in ("got", "lower", "upper") if (v := getattr(m, k)) is not None
    }
    rounding = np.broadcast_to(np.asarray(m.rounding, dtype=float), known.shape)[known]
    want = Estimate(value=m.want.value[known], error=m.want.error[known])
    return replace(m, **parts, want=want, rounding=rounding, facts={k: v for k, v in m.facts.items() if k != "primal"})


def _cut(bench: LiveBench) -> Iterator[Found]:
    """What autograd makes of torch code that it was not believed for: it stops at a detach, or a hook changes it."""
    if bench.consultation is None or getattr(bench.truth, "framework", "numpy") != "torch":
        return
    from gradverify.oracles.torch_autograd import TorchAutograd

    try:
        found = TorchAutograd().gradient(bench.truth, bench.case, bench.out).gradients
    except (GradverifyError, RuntimeError, TypeError, ValueError):
        return
    words = "a detach, .data, no_grad or a hook on the way, which autograd of forward itself obeys"
    yield f"detached: {words}", {k: e.value for k, e in found.items()}


def _gradients(bench: LiveBench, primals: Arrays, upstream: Out) -> Gradients:
    return bench.gradients_at(replace(bench.case.at(primals), upstream=upstream))
