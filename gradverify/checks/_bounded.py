"""A backward that bounds what it returns: clipped, or divided by a norm."""

from __future__ import annotations

import numpy as np

from gradverify.checks._tools import each, gap_between, largest, snapshot
from gradverify.types import Bench, Gradients, Out

FAR = 2.0**20  #: times the upstream, and sixteen times that: what is bounded is the same for both
SAME = 1e-6  #: relative


def bounded(bench: Bench, u: Out) -> bool:
    """Whether every gradient stays the same where the upstream grows further, and is another one for its negative."""
    far, further, turned = (_at(bench, u, c) for c in (FAR, 16 * FAR, -FAR))
    return bool(far) and all(_alike(k, far, further) and not _alike(k, far, turned) for k in far)


def _at(bench: Bench, u: Out, factor: float) -> Gradients:
    return snapshot(bench.run().pullback(each(u, lambda x: np.asarray(x * factor, x.dtype))))


def _alike(name: str, one: Gradients, other: Gradients) -> bool:
    g = one.get(name)
    return g is not None and gap_between(g, other.get(name)) <= SAME * largest(g)
