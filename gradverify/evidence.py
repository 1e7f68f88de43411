"""What the cause recognisers are given about a failing bench, with experiments that they may run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from gradverify.bench import LiveBench
from gradverify.errors import GradverifyError
from gradverify.oracles.torch_autograd import TorchAutograd
from gradverify.types import Array, Arrays, Evidence, Gradients, Out

KINDS = {
    "identity": "missing-activation-derivative",
    "at-output": "derivative-of-activation-not-preactivation",
    "zero": "detached",
    "negated": "sign",
}
NODES = 12  #: nonlinear nodes that are tried


def evidence_of(bench: LiveBench, check: str) -> Evidence:
    """Everything that is known about a failing check on this bench."""
    got = bench.gradients()
    measured = {str(m.facts.get("primal")): m for m in bench.settled()} if bench.consultation else {}
    return Evidence(
        check=check,
        case=bench.case,
        upstream=bench.upstream,
        out=bench.out,
        got=got,
        want={k: m.want for k, m in measured.items() if k in bench.case.primals},
        rounding={
            k: float(np.max(m.rounding, initial=0.0)) + float(np.nanmax(m.want.error, initial=0.0))
            for k, m in measured.items()
            if k in bench.case.primals
        },
        gradients=lambda primals, upstream: _gradients(bench, primals, upstream),
        what_if=(lambda: _what_if(bench)) if bench.consultation and bench.consultation.autodiff else None,
    )


def _gradients(bench: LiveBench, primals: Arrays, upstream: Out) -> Gradients:
    return bench.gradients_at(replace(bench.case.at(primals), upstream=upstream))


def _what_if(bench: LiveBench) -> Iterator[tuple[str, Mapping[str, Array]]]:
    """Gradients of the forward with one local derivative replaced, nonlinear node by nonlinear node."""
    consultation = bench.consultation
    if consultation is None or consultation.autodiff is None:
        return
    oracle = TorchAutograd()
    for index, node in enumerate(consultation.autodiff.nodes[:NODES]):
        for kind, cause in KINDS.items():
            try:
                bent = oracle.gradient(
                    bench.truth, consultation.forward.case, consultation.forward.out, bend=(index, kind)
                )
            except GradverifyError:
                continue
            yield f"{cause}: {node}", {k: e.value for k, e in bent.gradients.items()}
