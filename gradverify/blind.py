"""After a pass: which planted bugs could this comparison not have seen, and so what is the pass worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from gradverify import registry
from gradverify.bench import LiveBench
from gradverify.judge import as_judged
from gradverify.registry import Entry
from gradverify.types import Array, Cause, Estimate, Measurement

Key: TypeAlias = tuple[str, str, str]
LARGE, PART = 1 << 16, 1 << 14  #: gradients with more entries are first judged on a part of this many


#: what a bench's comparisons cannot tell, (primal, oracle, of) -> mutants; one planting serves all primals
_KEPT: WeakKeyDictionary[LiveBench, dict[Key, list[Entry[Any]]]] = WeakKeyDictionary()


def spots(m: Measurement, bench: LiveBench) -> tuple[str, ...]:
    """Names of gradient mutants of ``got`` that the judge passes at this point, with no new evaluation."""
    key = _key(m, bench)
    if key is None:
        return ()
    if bench not in _KEPT:
        _KEPT[bench] = _unseen(bench)
    entries = _KEPT[bench].get(key, [])
    if m.got.size > LARGE:
        # a mutant that fails on a part fails on the whole: only what a part cannot tell is planted in full
        name, passes = key[0], as_judged(m)
        whole = {**_less(bench), name: bench.gradients()[name]}
        entries = [e for e in entries if name in (bent := _planted(e, bench, whole)) and passes(bent[name])]
    return tuple(e.name for e in entries)


def _key(m: Measurement, bench: LiveBench) -> Key | None:
    """What a measurement is known by; None for one that is not of a whole gradient, or of one that is zero."""
    name = m.facts.get("primal")
    got = bench.gradients().get(name) if isinstance(name, str) else None
    if got is None or m.got.shape != np.shape(got) or not np.any(m.want.value):
        return None
    return str(name), m.oracle, m.of


def _unseen(bench: LiveBench) -> dict[Key, list[Entry[Any]]]:
    """For every gradient (for a part of a large one) the mutants that its comparison passes."""
    measured = {key: m for m in bench.settled() if (key := _key(m, bench)) is not None}
    passes = {key: as_judged(replace(m, **_parts(m, _cut(m.got.shape)))) for key, m in measured.items()}
    unseen: dict[Key, list[Entry[Any]]] = {key: [] for key in measured}
    less = _less(bench)
    for entry in registry.mutant.entries():
        if entry.meta.get("kind") != "gradient":
            continue
        bent = _planted(entry, bench, less)
        for key in measured:
            if key[0] in bent and passes[key](bent[key[0]]):
                unseen[key].append(entry)
    return unseen


def _less(bench: LiveBench) -> dict[str, Array | None]:
    return {k: g if g is None else g[_cut(np.shape(g))] for k, g in bench.gradients().items()}


def _planted(entry: Entry[Any], bench: LiveBench, got: Mapping[str, Array | None]) -> dict[str, Array]:
    """The gradients that the mutant changes, where it leaves them their shape."""
    try:
        bent = entry.item(bench.case, bench.upstream, dict(got))
    except Exception:  # noqa: BLE001  (a mutant that does not fit this case plants nothing)
        return {}
    changed = {k: np.asarray(v) for k, v in (bent or {}).items() if v is not None and v is not got.get(k)}
    return {k: v for k, v in changed.items() if (g := got.get(k)) is not None and v.shape == np.shape(g)}


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
    bounded = ("lower", "upper") if m.lower is not m.upper else ()
    arrays = {"lower": None, "upper": None, **{k: getattr(m, k) for k in ("got", "rounding", *bounded)}}
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
