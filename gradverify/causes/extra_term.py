"""The gradient has a term that the derivative has not."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._terms import terms
from gradverify.causes._tools import experiment, pair
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement, leaves, like

SUGGESTION = (
    "backward differentiates forward as it is: take the term out, or add to forward what it is the derivative of"
)


@registry.cause("extra-term")
def extra_term(m: Measurement, ev: Evidence) -> Cause | None:
    """The difference is something in scope, as regularisation that forward lacks, or no upstream multiplies it."""
    if ev.check == "integers-get-no-gradient":
        return Cause(name="extra-term", evidence=m.why, suggestion="return None for it", confidence=0.6)
    if ev.check == "linear-in-upstream":
        return _not_linear(m, ev)
    p = pair(m, ev)
    if p is not None and p.alike and not np.any(p.want):
        return Cause(
            name="extra-term",
            evidence=f"the derivative by {p.name} is 0 in all {p.got.size} entries; got reaches "
            f"{np.max(np.abs(p.got)):.3g} in {int(np.sum(p.wrong))} of them",
            suggestion=f"{SUGGESTION}; if it goes straight through a step on purpose, say so with surrogate=",
            confidence=0.9,
        )
    found = next((t for t in terms(p, ev) if t.extra), None) if p is not None else None
    if found is None:
        return played_through(m, ev, "extra-term", SUGGESTION)
    return Cause(name="extra-term", evidence=found.words, suggestion=SUGGESTION, confidence=found.confidence)


def _not_linear(m: Measurement, ev: Evidence) -> Cause | None:
    """Zero upstream gives an offset, or twice the upstream gives four times the gradient."""
    name = str(m.facts.get("primal", m.of))
    base = ev.got.get(name)
    scaled = m.facts.get("upstream") == "scaled"  # what depends on the size says nothing of a second factor
    if base is None or scaled or not np.all(np.isfinite(m.got)) or not np.any(base):
        return None
    tol = np.maximum(np.asarray(m.rounding, dtype=float), 1e-9 * np.max(np.abs(base)))
    twice = experiment(ev, upstream=like(ev.upstream, {k: 2 * np.asarray(v) for k, v in leaves(ev.upstream).items()}))
    doubled = None if twice is None else twice.get(name)
    if doubled is None or np.shape(doubled) != np.shape(base):
        return None
    if np.all(np.abs(doubled - 4 * base) <= 4 * tol):
        evidence = f"twice the upstream gives four times the gradient of {name}: the upstream enters twice"
        return Cause(name="extra-term", evidence=evidence, suggestion="multiply by the upstream once", confidence=0.9)
    offset = 2 * base - doubled
    if (
        m.facts.get("upstream") == "zero"
        and np.any(m.got)
        and np.all(np.abs(m.got - offset) <= 4 * tol)
        and not np.all(np.abs(offset - base) <= tol)
    ):
        evidence = (
            f"an upstream of zeros leaves a gradient of {name} up to "
            f"{np.max(np.abs(m.got)):.3g}: a term without upstream"
        )
        return Cause(name="extra-term", evidence=evidence, suggestion=SUGGESTION, confidence=0.9)
    return None
