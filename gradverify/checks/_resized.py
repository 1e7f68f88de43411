"""What must hold whatever the length of an axis: shapes, finite numbers where the derivative exists, right values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.checks._axes import Axes, sized
from gradverify.checks._elsewhere import bench_of, judged_elsewhere, may_be_judged
from gradverify.checks._fixed import for_given_lengths
from gradverify.checks._glance import glance
from gradverify.checks._tools import copied, count, drawn_like, floats, largest, shape_measured
from gradverify.errors import AdapterError, Unsupported
from gradverify.judge import judge
from gradverify.points import are_one
from gradverify.sampling import quiet
from gradverify.types import Array, Bench, Case, Gradients, Measurement, Out, Verdict, leaves


def run_resized(bench: Bench, case: Case) -> tuple[Out, Out, Gradients]:
    """(output, upstream, gradients) at a resized case. Raises Unsupported where the forward itself refuses it."""
    with quiet():
        try:
            run = bench.run(case)
        except Exception as error:
            raise Unsupported(f"the forward refuses that: {error}") from error
        upstream = drawn_like(run.out, bench.rng)
        return run.out, upstream, dict(run.pullback(copied(upstream)))


def measured(bench: Bench, axes: Axes, length: int, words: str, *, poles: bool = False) -> Iterator[Measurement]:
    """Shape, finiteness and value of every gradient at the resized case; zeros for what an empty batch never meets.

    poles  what the chain rule itself has no number for (``arccos`` of a cosine that is one) need not be finite
    Raises Unsupported where there is nothing to cut, the forward refuses what is left, or the code is for one length.
    """
    _check(bench.case, axes, length)
    case = sized(bench.case, axes, length)
    yield from unless_fixed(bench, case, lambda: _measured(bench, case, axes, length, words, poles), words)


def unless_fixed(
    bench: Bench, case: Case, measure: Callable[[], Iterator[Measurement]], words: str
) -> Iterator[Measurement]:
    """What ``measure`` yields at a resized case. Raises Unsupported where it fails, and the code has the length in it.

    Whatever ``measure`` raises is raised otherwise.
    """
    found: list[Measurement] = []
    raised: AdapterError | None = None
    try:
        found = list(measure())
    except Unsupported:
        raise
    except AdapterError as error:
        raised = error
    failed = [m for m in found if judge(m).verdict is Verdict.FAIL]
    loudly = raised is not None or any("shape" in m.of for m in failed)
    if (failed or loudly) and (numbers := for_given_lengths(bench, case, measure, literals=loudly)):
        raise Unsupported(f"the code is written for one length ({numbers}): {words} it need not be right")
    if raised is not None:
        raise raised
    yield from found


def _measured(bench: Bench, case: Case, axes: Axes, length: int, words: str, poles: bool) -> Iterator[Measurement]:
    try:
        out, upstream, gradients = run_resized(bench, case)
    except Unsupported:
        raise
    except AdapterError as error:
        error.add_note(f"(with {words}, which the forward accepts)")
        raise
    known = all(np.all(np.isfinite(v)) for v in leaves(out).values())
    sound = known
    for name, primal in floats(case.primals).items():
        g = gradients.get(name)
        if g is None:
            continue
        got, facts = np.shape(g), {"primal": name, "length": length}
        yield shape_measured(
            f"{name}: shape with {words}", got, primal.shape,
            f"with {words} the gradient of {name} has shape {got}, {name} has {primal.shape}", facts=facts,
        )  # fmt: skip
        sound = sound and got == primal.shape and bool(np.all(np.isfinite(g)))
        if not known or not np.size(g):
            continue
        bad = ~np.isfinite(g)
        if np.any(bad) and got == primal.shape:
            bad &= _exists(bench, case, upstream, name, np.asarray(g), poles=poles)
        yield count(
            f"{name}: finite with {words}",
            int(np.sum(bad)),
            f"with {words} {int(np.sum(bad))} entries of the gradient of {name} are not finite",
            facts=facts,
        )
        if length == 0 and all(np.size(v) == 0 for v in leaves(out).values()):
            yield count(
                f"{name}: zero with {words}",
                largest(g),
                f"with {words} the gradient of {name} is not zero",
                facts=facts,
            )
    if sound and length and _keeps_its_structure(bench.case, case, axes):
        met = glance(bench, case, upstream, gradients, f"with {words}")
        yield from _values(bench, case, words) if met is None else [met]


def _keeps_its_structure(given: Case, case: Case, axes: Axes) -> bool:
    """Whether one-hot rows, probabilities and unit vectors along the axes that were cut are still that."""
    before, after = ({**c.constants, **c.primals} for c in (given, case))
    whole = [(k, a) for k, a in axes.items() if before[k].dtype.kind in "fciub" and before[k].ndim > 1]
    sizes = (np.sum, np.linalg.norm)
    arrays = [(np.asarray(before[k], float), np.asarray(after[k], float), a) for k, a in whole]
    return not any(are_one(b, size, axis) and not are_one(c, size, axis) for b, c, axis in arrays for size in sizes)


def _values(bench: Bench, case: Case, words: str) -> Iterator[Measurement]:
    """The gradients there against the oracles, where those at the given point are right."""
    if getattr(bench, "consultation", None) is None or any(
        judge(m).verdict is not Verdict.PASS for m in bench.settled()
    ):
        return
    try:
        may_be_judged(bench)
        yield from judged_elsewhere(bench, bench_of(bench, bench.adapter, case), f"with {words}")
    except Unsupported:
        return


def _check(case: Case, axes: Axes, length: int) -> None:
    arrays: dict[str, Any] = {**case.constants, **case.primals}
    if not axes or any(k not in arrays for k in axes):
        raise Unsupported(f"{', '.join(k for k in axes if k not in arrays) or 'no array'} is not handed over here")
    if any(np.shape(arrays[k])[a] <= length for k, a in axes.items()):
        raise Unsupported(f"it has length {min(np.shape(arrays[k])[a] for k, a in axes.items())} already")


def _exists(bench: Bench, case: Case, upstream: Out, name: str, gradient: Array, *, poles: bool) -> Array:
    """Where an oracle knows the derivative: at a pole there is none, and infinity is no bug. Unasked, NaN always is.

    poles  an autodiff that does not know it is enough
    """
    nowhere = np.zeros(case.primals[name].shape, dtype=bool)
    try:
        other = bench_of(bench, bench.adapter, replace(case, upstream=upstream))
        with quiet():
            settled = other.settled() if hasattr(other, "settled") else ()
        for m in settled:
            if m.facts.get("primal") == name and m.want.value.shape == nowhere.shape:
                traced = other.consultation.autodiff if poles else None
                if traced is not None and np.shape(traced.gradients[name].value) == nowhere.shape:
                    return np.asarray(np.isfinite(traced.gradients[name].value))
                return np.asarray(np.isfinite(m.want.value) & np.isfinite(m.want.error))
    except AdapterError:
        pass
    return nowhere if hasattr(bench, "settled") else np.isnan(gradient)
