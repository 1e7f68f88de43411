"""At a kink or tie the forward's autodiff knows one convention; the implementation may follow another."""

from __future__ import annotations

import numpy as np

from gradverify.answers import Answer
from gradverify.errors import AdapterError, Unsupported
from gradverify.explanations._difference import Difference
from gradverify.oracles.torch_autograd import CONVENTIONS, TorchAutograd

LOOKED_AT = 8  #: entries that the conventions differ in, where differences are asked whether there is a kink


def explain(d: Difference) -> None:
    """The answer of the convention that the implementation follows."""
    c = d.asked
    if c.autodiff is None or not c.autodiff.kinks:
        return
    for ties in CONVENTIONS:
        try:
            other = TorchAutograd().gradient(c.adapter, c.case, c.forward.out, ties=ties)
        except (Unsupported, AdapterError):
            return
        candidate = Answer.of(other.gradients[d.name], d.answer.oracle)
        if not d.remains(candidate) and _kinked(d, candidate):
            said = f"at a kink or tie the convention is {ties!r} ({'; '.join(other.kinks)})"
            candidate.notes = [*d.answer.notes, said]
            d.answer = candidate
            return


def _kinked(d: Difference, candidate: Answer) -> bool:
    """A convention is one only where the function has a kink: where it is smooth the derivative is no choice."""
    c = d.asked
    apart = np.abs(candidate.estimate.value - d.answer.estimate.value) > d.allowance
    where = np.flatnonzero(apart.ravel())[:LOOKED_AT]
    found = c.differences.entries(c.forward, d.name, where, accept=0.01 * c.size(d.name))
    got = d.got.ravel()[where]
    with np.errstate(invalid="ignore"):
        smooth = ~found.kink & np.isfinite(found.error) & (found.error < 0.1 * np.abs(found.value - got))
    return not smooth.any()
