"""Changing the length of an axis where the case says that this is safe.

A case (or adapter) says so with ``batch_axis``: name of an array -> the axis that runs over samples, for every primal
and constant that has one; and with ``attrs["axes"]``: label -> (name -> axis), for other axes that share a length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from gradverify.checks._tools import copied, count, drawn_like, floats, largest, shape_measured
from gradverify.sampling import quiet
from gradverify.types import Bench, Case, Gradients, Measurement, Out, leaves


def batch_axes(bench: Bench) -> Mapping[str, int]:
    """Which axis of which array runs over the samples; empty when nobody says."""
    said = bench.case.attrs.get("batch_axis", getattr(bench.adapter, "batch_axis", None))
    return said if isinstance(said, Mapping) else {}


def resized(case: Case, axes: Mapping[str, int], length: int) -> Case | None:
    """``case`` with the named axes cut to ``length``; None where there is nothing to cut."""
    if not axes or any(n not in case.primals and n not in case.constants for n in axes):
        return None
    arrays = {n: np.asarray(case.primals.get(n, case.constants.get(n))) for n in axes}
    if any(a.shape[axes[n]] <= length for n, a in arrays.items()):
        return None
    cut = {n: np.take(a, range(length), axis=axes[n]) for n, a in arrays.items()}
    return replace(
        case, upstream=None, primals={**case.primals, **{k: v for k, v in cut.items() if k in case.primals}},
        constants={**case.constants, **{k: v for k, v in cut.items() if k in case.constants}},
    )  # fmt: skip


def run_resized(bench: Bench, case: Case) -> tuple[Out, Out, Gradients] | None:
    """(output, upstream, gradients) at a resized case; None where the forward itself refuses it."""
    with quiet():
        try:
            run = bench.run(case)
        except Exception:  # noqa: BLE001  the plain forward refuses this size, so there is no gradient to ask for
            return None
        upstream = drawn_like(run.out, bench.rng)
        return run.out, upstream, dict(run.pullback(copied(upstream)))


def measured(bench: Bench, axes: Mapping[str, int], length: int, words: str) -> Iterator[Measurement]:
    """Shape and finiteness of every gradient at the resized case; zero gradients of what an empty batch never meets."""
    case = resized(bench.case, axes, length)
    result = run_resized(bench, case) if case is not None else None
    if case is None or result is None:
        return
    out, _, gradients = result
    known = all(np.all(np.isfinite(v)) for v in leaves(out).values())
    for name, primal in floats(case.primals).items():
        g = gradients.get(name)
        if g is None:
            continue
        got, facts = np.shape(g), {"primal": name, "length": length}
        yield shape_measured(
            f"{name}: shape with {words}", got, primal.shape,
            f"with {words} the gradient of {name} has shape {got}, {name} has {primal.shape}", facts=facts,
        )  # fmt: skip
        if not known or not np.size(g):
            continue
        bad = int(np.sum(~np.isfinite(g)))
        yield count(
            f"{name}: finite with {words}",
            bad,
            f"with {words} {bad} entries of the gradient of {name} are not finite",
            facts=facts,
        )
        if length == 0 and all(np.size(v) == 0 for v in leaves(out).values()):
            yield count(
                f"{name}: zero with {words}",
                largest(g),
                f"with {words} the gradient of {name} is not zero",
                facts=facts,
            )
