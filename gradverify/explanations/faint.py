"""Entries far below the largest of their tensor: 1e-8 beside 1e8.

What is always allowed is a part of the largest entry. An entry that is smaller than that could be anything, though in
elementwise code each has all its digits. Where such an entry is off by more than a pass may mean, its own rounding is
measured, and the oracle's; what these do not explain by far is no rounding.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradverify.directions import blocks
from gradverify.explanations._difference import Difference
from gradverify.rounding import floor_of
from gradverify.tally import largest
from gradverify.types import Array

FAR = 32.0  #: times the measured roundings that a difference must exceed to be none of them
MANY, FEW = 1 << 14, 1e-2  #: of so many entries such a part at least must be off: a row, a scale, not the few near zero
OWN = 64.0  #: roundings of the entry itself that are always allowed


def explain(d: Difference) -> None:
    """Where entries far below the largest are off, only as much as their own rounding is allowed."""
    c, want = d.asked, d.answer.estimate.value
    if c.autodiff is None or c.autodiff.kinks or c.autodiff.thresholds or not c.traced:
        return
    eps = c.eps[d.name]
    which = doubtful(d.got, want, max(eps, c.forward.eps) ** 0.25, FAR * c.underflow(d.name))
    if which is None or d.name in c.missing:
        return
    theirs, floor = c.its_rounding.of(d.name), floor_of(eps) * largest(d.got)
    if theirs is None or theirs.shape != want.shape or not np.any(c.rounding(d.name) > floor):
        return  # nothing was measured
    own = c.rounding(d.name, wild=True)  # of each entry alone: what is usual in its tensor is far too much for it
    narrow = narrowed(d.allowance, which, d.now(), want, np.maximum(own - floor, 0.0) + theirs, eps)
    if np.any(narrow < d.allowance):
        error = np.where(narrow < d.allowance, 0.0, d.answer.estimate.error)
        d.answer = replace(d.answer, estimate=replace(d.answer.estimate, error=error))
        d.allowance = narrow


def doubtful(got: Array, want: Array, part: float, least: float) -> Array | None:
    """Where entries are off by more than ``part`` of themselves and ``least``; None where none is.

    A trace of a number is allowed for zero.
    """
    found = None
    g, w = got.reshape(-1), want.reshape(-1)
    for block in blocks(g.size):
        with np.errstate(all="ignore"):
            gap, size = np.abs(g[block] - w[block]), np.abs(w[block])
            off = np.isfinite(gap) & (size > 0) & (gap > part * size) & (gap > least)
        if off.any():
            found = np.zeros(g.size, bool) if found is None else found
            found[block] = off
    if found is None or (g.size > MANY and np.count_nonzero(found) < FEW * g.size):
        return None  # of very many numbers of one size a few are always near zero
    return found.reshape(want.shape)


def narrowed(allowance: Array | float, which: Array, gap: Array, want: Array, rounding: Array, eps: float) -> Array:
    """The allowance, cut down at those of the doubtful entries that no rounding explains."""
    wide = np.array(np.broadcast_to(np.asarray(allowance, dtype=float), want.shape))
    with np.errstate(invalid="ignore"):
        narrow = FAR * rounding + OWN * eps * np.abs(want)
        wrong = which & (gap > narrow)  # an unknown rounding explains all
    wide[wrong] = narrow[wrong]
    return wide
