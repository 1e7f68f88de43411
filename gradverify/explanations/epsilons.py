"""log(p + 1e-7) differentiated as log(p), or to 1 / p: what is meant, if the gradient is exactly that of it."""

from __future__ import annotations

import numpy as np

from gradverify.answers import Answer
from gradverify.errors import Unsupported
from gradverify.explanations._difference import Difference
from gradverify.oracles.torch_autograd import TorchAutograd

APART = 1e-3  #: relative difference that an epsilon inside a logarithm may make and still be a convention


def explain(d: Difference) -> None:
    """The gradient of the loss without its epsilon, where the implementation's is that one."""
    c = d.asked
    if c.autodiff is None or not c.autodiff.epsilons or not c.traced:
        return
    size = float(np.max(np.abs(d.answer.estimate.value), initial=0.0)) or 1.0
    apart = float(np.max(d.now(), initial=0.0)) / size
    if not apart <= APART:
        return
    for which in ("all", "slope"):
        try:
            other = TorchAutograd().gradient(c.adapter, c.case, c.forward.out, without_epsilon=which)
        except Unsupported:
            return
        candidate = Answer.of(other.gradients[d.name], d.answer.oracle)
        if not d.remains(candidate):
            note = f"the gradient is that of the loss without the epsilon inside its logarithm: {apart:.0e} apart"
            candidate.notes = [*d.answer.notes, note]
            d.answer = candidate
            return
