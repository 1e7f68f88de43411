"""After a pass: which planted bugs could this comparison not have seen, and so what is the pass worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.bench import LiveBench
from gradverify.judge import as_judged
from gradverify.registry import Entry
from gradverify.types import Array, Cause, Estimate, Measurement

LARGE, PART = 1 << 16, 1 << 14  #: gradients with more entries are first judged on a part of this many


def spots(m: Measurement, bench: LiveBench) -> tuple[str, ...]:
    """Names of gradient mutants of ``got`` that the judge passes at this point, with no new evaluation."""
    name = m.facts.get("primal")
    got = bench.gradients()
    if (
        not isinstance(name, str)
        or got.get(name) is None
        or m.got.shape != np.shape(np.asarray(got[name]))
        or not np.any(m.want.value)
    ):
        return ()
    entries = [e for e in registry.mutant.entries() if e.meta.get("kind") == "gradient"]
    less = {k: g if g is None else g[_cut(np.shape(g))] for k, g in got.items()}
    if m.got.size > LARGE:
        # a mutant that fails on a part fails on the whole: only what a part cannot tell is planted in full
        entries = _unseen(entries, replace(m, **_parts(m, _cut(m.got.shape))), name, less, bench)
    return tuple(e.name for e in _unseen(entries, m, name, {**less, name: got[name]}, bench))


def _unseen(
    entries: list[Entry[Any]], m: Measurement, name: str, got: Mapping[str, Array | None], bench: LiveBench
) -> list[Entry[Any]]:
    unseen, passes = [], as_judged(m)
    for entry in entries:
        try:
            bent = entry.item(bench.case, bench.upstream, dict(got))
        except Exception:  # noqa: BLE001  (a mutant that does not fit this case plants nothing)
            continue
        if bent is None or bent.get(name) is None:
            continue
        if bent[name] is got[name]:
            continue  # planted in another gradient
        value = np.asarray(bent[name])
        if value.shape == m.got.shape and passes(value):
            unseen.append(entry)
    return unseen


def _cut(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The first entries along every axis but the leading one, so that about PART are left; a square stays square."""
    if int(np.prod(shape)) <= LARGE:
        return ()
    if len(shape) == 1 or (len(shape) == 2 and shape[0] == shape[1]):
        return tuple(slice(int(PART ** (1 / len(shape)))) for _ in shape)
    each = max(2, int((PART / shape[0]) ** (1 / (len(shape) - 1))))
    return (slice(None), *(slice(each) for _ in shape[1:]))


def _parts(m: Measurement, cut: tuple[slice, ...]) -> dict[str, Any]:
    """The fields of a measurement that have entries, cut."""
    arrays = {k: getattr(m, k) for k in ("got", "rounding", "lower", "upper")}
    want = Estimate(value=m.want.value[cut], error=m.want.error[cut], note=m.want.note)
    return {"want": want, **{k: v[cut] if np.ndim(v) else v for k, v in arrays.items()}}


def by_check(check: str, catches: tuple[str, ...], evidence: str) -> tuple[Cause, ...]:
    """The cause of a variation that raises, where the check says which one it is (``raises=``), else none.

    What a check catches in numbers is no reason for an exception: a wrong name misleads more than no name.
    """
    said = {e.name: e.meta.get("raises") for e in registry.check.entries()}.get(check)
    if said is None or said not in catches:
        return ()
    return (Cause(name=said, evidence=f"{check}: {evidence}", confidence=0.6),)
