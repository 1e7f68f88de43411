"""The other mode of a layer that has two."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.checks._after_training import AfterTraining
from gradverify.checks._elsewhere import bench_of, judged_elsewhere, may_be_judged
from gradverify.checks._modes import other_mode
from gradverify.checks._tools import compared, copied, snapshot, traits
from gradverify.errors import AdapterError, Unsupported
from gradverify.sampling import evaluate, quiet
from gradverify.types import Adapter, Bench, Case, Measurement, Out, leaves

STEP = "after a step in the other mode"
NONE = "no train or eval mode, or a mixture: no flag such as training= or mode= on the object or among the constants"


@registry.check(
    "train-and-eval",
    catches=("stale-state", "missing-term", "extra-term"),
    requires=("shape", "pullback-matches-oracle", "deterministic"),
    elsewhere=True,
)
def train_and_eval(bench: Bench) -> Iterator[Measurement]:
    """The gradient is right in the other mode too: in eval mode where train mode was given, and the other way round.

    Measured where a flag is found: on the object or its layers (``training``, ``train_flg``, ``mode``), among the
    constants (also within ``bn_param={"mode": "train"}``), or as a default of forward. A mode whose forward or backward
    refuses to run, or that draws at every call, is skipped. Where an object keeps what backward needs, this mode is
    asked for after a step in the given one, too: a mask may be left there.
    Why: BatchNorm in eval mode has constant statistics, so the two mean terms of its gradient are gone; dropout passes
    everything on. Nobody trains in eval mode, so nobody sees it, until a generator is trained through a frozen network.
    Right: ``dx = u * gamma / np.sqrt(running_var + eps)`` in eval mode. Wrong: the formula of train mode in both.
    """
    found = None
    for found in other_mode(bench.adapter, bench.case):
        mode, adapter, case = found
        words = f"in {mode} mode"
        out = _output(adapter, case)
        if out is not None:
            break
    else:
        raise Unsupported(NONE if found is None else f"the forward does not run {words}")
    if not _same(out, _output(adapter, case)):
        raise Unsupported(f"the forward draws at every call {words}")
    if _same(out, evaluate(bench.adapter, bench.case)):
        case = replace(case, upstream=bench.upstream)
        want = snapshot(bench.run().pullback(copied(bench.upstream)))
        try:
            got = snapshot(adapter.vjp(case)[1](copied(bench.upstream)))
        except AdapterError as error:
            raise Unsupported(f"backward does not run {words}: {error}") from error
        yield from compared(
            bench, got, want, words, f"is another one {words}, although the output is the same",
            times=2.0, facts={"mode": mode},
        )  # fmt: skip
        return
    may_be_judged(bench)
    shapes = [{k: np.shape(v) for k, v in leaves(o).items()} for o in (out, bench.upstream)]
    alike = shapes[0] == shapes[1]
    try:
        other = bench_of(bench, adapter, replace(case, upstream=bench.upstream if alike else None))
        other.gradients()
    except AdapterError as error:
        raise Unsupported(f"backward does not run {words}: {error}") from error
    yield from judged_elsewhere(bench, other, words, mode=mode)
    yield from _left_over(bench, adapter, case, other, mode)


def _left_over(bench: Bench, adapter: Adapter, case: Case, fresh: Any, mode: str) -> Iterator[Measurement]:
    """Gradients that are others after a step in the other mode on the same object, although the output is the same."""
    if "accumulates" in traits(bench):
        return
    with contextlib.suppress(AdapterError):
        out, pullback = AfterTraining(bench, adapter, mode).vjp(fresh.case)
        if not _same(out, fresh.out):
            return
        got = snapshot(pullback(copied(fresh.upstream)))
        for m in compared(
            bench, got, snapshot(fresh.gradients()), f"in {mode} mode {STEP}",
            f"is another one in {mode} mode {STEP}, although the output is the same",
            times=4.0, facts={"mode": mode},
        ):  # fmt: skip
            if not np.array_equal(m.got, m.want.value, equal_nan=True):
                yield m


def _output(adapter: Adapter, case: Case) -> Out | None:
    """The forward alone, None where it raises: whatever it raises, there is no gradient to ask for."""
    with quiet():
        try:
            out = evaluate(adapter, case)
        except Exception:  # noqa: BLE001  (the user's own code, in a mode that was never asked for)
            return None
    return {k: np.array(v) for k, v in leaves(out).items()}


def _same(a: Any, b: Any) -> bool:
    x: Mapping[str, Any] = leaves(a) if a is not None else {}
    y: Mapping[str, Any] = leaves(b) if b is not None else {}
    return x.keys() == y.keys() and all(np.array_equal(x[k], np.asarray(y[k]), equal_nan=True) for k in x)
