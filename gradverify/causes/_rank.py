"""All recognisers on one failing measurement, best first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from gradverify import registry
from gradverify.causes._tools import Asked
from gradverify.errors import Unsupported
from gradverify.types import Array, Arrays, Cause, Evidence, Gradients, Measurement, Out

#: what a name below says less well than any name in its set, for the same numbers
LESS_SPECIFIC = {
    "scale": {
        "sign",
        "missing-batch-mean",
        "double-batch-mean",
        "accumulated",
        "upstream-ignored",
        "clipped-in-backward",
    },
    "zeroed-entries": {"dropped-samples", "repeated-indices", "detached", "wrong-mask"},
    "detached": {"wrong-mask", "missing-activation-derivative"},
    "permuted": {"transposed", "off-by-one-layer", "sign"},
    "transposed": {"sign"},
    "missing-term": {
        "zeroed-entries",
        "permuted",
        "kink-convention",
        "dropped-samples",
        "repeated-indices",
        "updated-weights",
        "dtype",
        "wrong-mask",
        "softmax-elementwise",
    },
    "extra-term": {"updated-weights", "upstream-ignored", "dtype"},
    "stale-state": {"accumulated"},
    "nondeterministic": {"accumulated"},
}
SURE = 0.9  #: a cause that leaves nothing to look for, where looking is dear
FEW = 10_000  #: one entry in so many
ALONE = "only there"  #: what ``search`` says of an entry that explains everything that is wrong
FLOAT32 = 32 * 2.0**-23  #: rounding of single precision inside code that says double
LAST = frozenset({"noise"})  #: said only when nothing else is


def name_causes(m: Measurement, ev: Evidence) -> tuple[Cause, ...]:
    """The causes that have evidence for this failing measurement, by confidence; less specific names are dropped.

    Where a run of the implementation is dear the numbers alone are asked first, and no more than they where they are
    sure, or where so few entries are wrong that no bug on a path can be meant.
    """
    try:
        kept: tuple[Cause, ...] = ()
        if ev.dear:
            kept = _ranked(m, replace(ev, what_if=None, gradients=_no_run))
        if not ev.dear or not (_lone(m) or (kept and kept[0].confidence >= SURE)):
            kept = _ranked(m, ev)
    finally:
        Asked.forget()
    if not kept and (coarse := _in_float32(m)) is not m:
        return name_causes(coarse, replace(ev, what_if=None))
    return kept


def _ranked(m: Measurement, ev: Evidence) -> tuple[Cause, ...]:
    if ev.what_if is not None:
        played = _Once(ev.what_if())
        ev = replace(ev, what_if=lambda: iter(played))
    found, stumbled = [], []
    for e in registry.cause.entries():
        try:
            c = e.item(m, ev)
        except Exception as error:  # noqa: BLE001  one recogniser that stumbles must not silence the others
            stumbled.append(error)
            continue
        found += [c] if c is not None else []
    if stumbled and not found:
        raise stumbled[0]
    sure = {c.name: c.confidence for c in found}
    kept = [c for c in found if not any(sure.get(n, 0.0) >= c.confidence for n in LESS_SPECIFIC.get(c.name, ()))]
    kept = [c for c in kept if c.name not in LAST] or kept
    return tuple(sorted(kept, key=lambda c: (-c.confidence, c.name)))


def _no_run(primals: Arrays, upstream: Out) -> Gradients:
    raise Unsupported("what the numbers say comes first")


def _lone(m: Measurement) -> bool:
    """Whether of a large array so few entries are wrong that they are no term, no factor and no path."""
    got, want = np.asarray(m.got), np.asarray(m.want.value)
    if m.facts.get("where") == ALONE or "seen_in_one_entry" in m.facts:
        return True  # ... or a direction, which is followed by the entries that are wrong
    if got.shape != want.shape or got.size < FEW:
        return False
    with np.errstate(invalid="ignore"):
        wrong = np.count_nonzero(~(np.abs(got - want) <= m.want.error + m.rounding))
    return int(wrong) * FEW <= got.size


def _in_float32(m: Measurement) -> Measurement:
    """The measurement with the rounding of float32, where what is wrong is far more than that."""
    got, want = np.asarray(m.got), np.asarray(m.want.value)
    if got.shape != want.shape or not got.size or not np.all(np.isfinite(got)) or not np.all(np.isfinite(want)):
        return m
    rounding = FLOAT32 * float(np.max(np.abs(want)))
    if float(np.max(m.rounding)) >= rounding or float(np.max(np.abs(got - want))) < 1e3 * rounding:
        return m
    return replace(m, rounding=rounding)


class _Once:
    """Hypotheses are costly: each is computed when first asked for, and kept."""

    def __init__(self, source: Iterator[tuple[str, Mapping[str, Array]]]) -> None:
        self.source = source
        self.seen: list[tuple[str, Mapping[str, Array]]] = []

    def __iter__(self) -> Iterator[tuple[str, Mapping[str, Array]]]:
        yield from self.seen
        for item in self.source:
            self.seen.append(item)
            yield item
