"""A formula that takes over where another one loses its digits, differentiated as the other one.

``where(x > 20, x, log1p(exp(x)))`` is softplus to all digits but the last few, and its gradient is meant to be the
sigmoid everywhere; a series near zero stands for a quotient, and the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gradverify import rounding
from gradverify.answers import Answer
from gradverify.errors import Unsupported
from gradverify.explanations._difference import Difference
from gradverify.oracles.torch_autograd import TorchAutograd
from gradverify.types import Case, Estimate, rng_for

APART = 1e-5  #: of each entry, that two formulas for one function may be apart in their derivatives
NOTE = "the gradient is that of the other branch of where, which gives the same number there: {0:.0e} apart"


def explain(d: Difference) -> None:
    """The gradient of the other branch, where it is next to that of the branch that was taken, and is what was got."""
    c = d.asked
    if c.autodiff is None or not c.traced or not any(n.startswith("where ") for n in c.autodiff.nodes):
        return
    off = d.where()
    with np.errstate(all="ignore"):
        apart = float(np.max(d.now()[off] / np.abs(d.answer.estimate.value[off]), initial=0.0))
    if not apart <= APART:
        return

    def other(case: Case) -> Mapping[str, Estimate]:
        return TorchAutograd().gradient(c.adapter, case, c.forward.out, other_branch=True).gradients

    try:
        estimate = other(c.case)[d.name]
        if d.remains(Answer.of(estimate, d.answer.oracle)):  # what loses digits has lost them in its derivative as well
            spread = rounding.of_oracle(other, c.case, rng_for(c.seed, c.case.name, "other branch"))[d.name]
            estimate = replace(estimate, error=np.fmax(estimate.error, spread))
    except (Unsupported, KeyError):
        return
    candidate = Answer.of(estimate, d.answer.oracle)
    if not d.remains(candidate):
        candidate.notes = [*d.answer.notes, NOTE.format(apart)]
        d.answer = candidate
