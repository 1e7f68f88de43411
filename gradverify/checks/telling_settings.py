"""Settings at which a bug shows that the given ones hide."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.checks._elsewhere import bench_of, judged_elsewhere, may_be_judged
from gradverify.checks._glance import glance
from gradverify.checks._own_settings import hidden_on_object
from gradverify.checks._resized import unless_fixed
from gradverify.checks._settings import hidden
from gradverify.checks._tools import floats, shape_measured
from gradverify.errors import AdapterError, Unsupported
from gradverify.types import Bench, Case, Measurement


@registry.check(
    "telling-settings",
    catches=("missing-term", "repeated-indices", "wrong-axis"),
    requires=("shape", "pullback-matches-oracle", "second-call-equal"),
    elsewhere=True,
)
def telling_settings(bench: Bench) -> Iterator[Measurement]:
    """The gradient is right at settings that can tell, too: overlap, a stride that does not divide, the last class.

    Beside the given setting, where the forward accepts it: 0.1 for a penalty (``reg``, ``l2``) or any other float of
    0, 1.25 for a factor (``alpha``, ``delta``, ``temperature``) of 1.0, for any other constant of 1 another number, a
    stride of 1 for more and of 2 for 1, the other ones of "mean", "sum" and "none", a label of the last class where
    there is none, images longer by odd numbers, kernels longer by one; for an array of ones or zeros a mask, for the
    identity as an index another order. On an object (``self.reg``, ``self.stride``): 0.1 for a penalty of 0, and 1 for
    more where that makes the output larger. A setting at which backward refuses to run is left alone.
    Why: with a stride as long as the window nothing is added up, with a stride that divides no pixel is left over, and
    a penalty of zero has no gradient: the usual first test hides the usual bugs.
    Right: ``dx[window] += g``. Wrong: ``dx[window] = g``.
    """
    may_be_judged(bench)
    if getattr(bench.adapter, "pairs", False):
        raise Unsupported("complex arrays are judged as pairs of reals, whose last axis is no length of an image")
    met = 0
    for why, words, case in hidden(bench):
        try:
            for m in unless_fixed(bench, case, partial(_there, bench, case, words), words):
                met += 1
                note = f"drawn beside the given setting, which cannot tell: {why}"
                yield replace(m, notes=(*m.notes, note))
        except AdapterError:
            continue
    for why, words, twin in hidden_on_object(bench):
        with contextlib.suppress(AdapterError):
            other = bench_of(bench, twin, replace(bench.case, upstream=None))
            for m in _judged(other, bench, other, words):
                met += 1
                yield replace(m, notes=(*m.notes, f"drawn beside the given setting, which cannot tell: {why}"))
    if not met:
        raise Unsupported("no setting of the given ones is known to hide a bug")


def _there(bench: Bench, case: Case, words: str) -> Iterator[Measurement]:
    yield from _judged(bench, bench, bench_of(bench, bench.adapter, case), words)


def _judged(looking: Bench, bench: Bench, other: Any, words: str) -> Iterator[Measurement]:
    """The gradients of another bench; at a glance first, by the forward of ``looking``."""
    case = other.case
    gradients = other.gradients()
    wrong = {
        k: np.shape(g)
        for k, v in floats(case.primals).items()
        if (g := gradients.get(k)) is not None and np.shape(g) != v.shape
    }
    for name, shape in wrong.items():
        want = case.primals[name].shape
        yield shape_measured(
            f"{name}: shape {words}", shape, want,
            f"{words} the gradient of {name} has shape {shape}, {name} has {want}", facts={"primal": name},
        )  # fmt: skip
    if not wrong:
        met = glance(looking, other.case, other.upstream, gradients, words)
        yield from judged_elsewhere(bench, other, words, setting=words) if met is None else [met]
