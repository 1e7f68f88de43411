"""The rounding of the implementation, measured; and that of the autodiff where it does not suffice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradverify import rounding
from gradverify.coarse import NOTE, WORTH_A_NOTE
from gradverify.explanations._difference import Difference
from gradverify.tally import largest


def explain(d: Difference) -> None:
    """Widen the allowance by what was measured, unless no rounding can be behind the difference."""
    d.hopeless = beyond(d)
    if not d.hopeless:
        widen(d)


def widen(d: Difference) -> None:
    """The measured rounding of the implementation in the allowance, that of the autodiff in the answer's error."""
    c = d.asked
    if d.name not in c.missing:
        near = np.maximum(d.gap - d.answer.estimate.error, 0.0)
        measured = c.rounding(d.name, d.gap if c.dear else None, near=near)
        d.allowance = np.maximum(measured, d.allowance) + c.underflow(d.name)
        if c.coarser() > WORTH_A_NOTE:
            d.answer.notes.append(NOTE.format(c.coarser()))
    if c.autodiff is not None and d.remains():
        _that_of_the_autodiff(d)


def beyond(d: Difference) -> bool:
    """Whether an entry differs by more than cancellation costs anybody: then no dear run is made to measure that.

    Not where another explanation of large differences must be compared to within rounding.
    """
    c, known = d.asked, d.asked.autodiff
    if known is None or known.kinks or known.stops or known.epsilons or not c.dear:
        return False
    part = rounding.HOPELESS * c.eps[d.name]
    size, terms = max(largest(d.answer.estimate.value), largest(d.got)), c.natural(d.name)
    size = max(size, terms) if size < part * terms else size  # a zero is as large as what cancels in it
    return bool(np.any(d.gap[d.where()] > part * size))


def _that_of_the_autodiff(d: Difference) -> None:
    c, estimate = d.asked, d.answer.estimate
    if c.dear and not c.its_rounding.known:
        once = c.its_rounding.once(d.name)
        gap = d.now()
        if once is not None and once.shape == gap.shape and np.any(gap > rounding.CLEAR * (once + d.allowance)):
            return
    spread = c.its_rounding.of(d.name)
    if spread is None or spread.shape != estimate.error.shape:
        return
    c.jumps[d.name] = np.isnan(spread)
    error = np.maximum(estimate.error, np.nan_to_num(spread, nan=0.0))
    d.answer = replace(d.answer, estimate=replace(estimate, error=error))
