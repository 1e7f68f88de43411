"""A right implementation whose gradients go through a gradient mutant, judged and explained as the runner does."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradverify import registry
from gradverify.bench import LiveBench
from gradverify.causes._rank import name_causes
from gradverify.evidence import evidence_of
from gradverify.judge import judge
from gradverify.types import Verdict


class Mutated:
    """The adapter inside, its gradients changed by the mutant."""

    def __init__(self, inner: Any, mutant: Any) -> None:
        self.inner, self.mutant, self.name = inner, mutant, "mutated"

    def vjp(self, case):
        out, pullback = self.inner.vjp(case)

        def pull(upstream):
            gradients = pullback(upstream)
            new = self.mutant(case, upstream, gradients)
            return gradients if new is None else new

        return out, pull


def mutated(entry: Any, right: Any) -> dict[str, list[str]] | None:
    """Causes by primal that fails; None where the mutant does not apply or changes nothing."""
    got = right.gradients()
    new = entry.item(right.case, right.upstream, got)
    if new is None or all(new[k] is g or np.array_equal(new[k], g) for k, g in got.items()):
        return None
    bench = LiveBench(Mutated(right.adapter, entry.item), right.case)
    check = entry.meta["caught_by"]
    found = {}
    for m in registry.check[check].item(bench):
        if judge(m).verdict is Verdict.FAIL:
            found[m.of] = [c.name for c in name_causes(m, evidence_of(bench, check))]
    assert found, f"{check} did not catch {entry.name}"
    return found
