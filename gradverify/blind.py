"""After a pass: which planted bugs could this comparison not have seen, and so what is the pass worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradverify import registry
from gradverify.bench import LiveBench
from gradverify.judge import judge
from gradverify.types import Cause, Measurement, Verdict


def spots(m: Measurement, bench: LiveBench) -> tuple[str, ...]:
    """Names of gradient mutants of ``got`` that the judge passes at this point, with no new evaluation."""
    name = m.facts.get("primal")
    got = bench.gradients()
    if not isinstance(name, str) or got.get(name) is None or not np.any(m.want.value):
        return ()
    unseen = []
    for entry in registry.mutant.entries():
        if entry.meta.get("kind") != "gradient":
            continue
        try:
            bent = entry.item(bench.case, bench.upstream, dict(got))
        except Exception:  # noqa: BLE001  (a mutant that does not fit this case plants nothing)
            continue
        if bent is None or bent.get(name) is None:
            continue
        if bent[name] is got[name]:
            continue  # planted in another gradient
        value = np.asarray(bent[name])
        if value.shape == m.got.shape and judge(replace(m, got=value)).verdict is Verdict.PASS:
            unseen.append(entry.name)
    return tuple(unseen)


def by_check(check: str, catches: tuple[str, ...], evidence: str) -> tuple[Cause, ...]:
    """The cause that a contract check stands for, when the variation raised."""
    if not catches:
        return ()
    return (Cause(name=catches[0], evidence=f"{check}: {evidence}", confidence=0.6),)
