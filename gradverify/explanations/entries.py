"""Differences at the entries that differ, one by one: is it a kink, the oracle, or the implementation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gradverify.answers import Answer
from gradverify.explanations._difference import Difference
from gradverify.oracles._ladder import Slopes
from gradverify.types import Array, rng_for

WORST, RANDOM = 24, 8  #: how many differing entries are looked at one by one
FEW = 3  #: so many where the trace met no kink, or another primal has already shown that the oracle is right
SAMPLES = 40  #: forwards that one entry may cost
NEARLY = 0.05  #: of a gap: differences this close to one side of it have taken that side


def explain(d: Difference) -> None:
    """What differences say takes the oracle's place at the entries that were looked at."""
    c = d.asked
    different = d.where()
    if not different.any() or not c.allows("finite-differences"):
        return
    where = np.flatnonzero(different.ravel())
    gaps = d.now().ravel()[where]
    order = np.argsort(-np.nan_to_num(gaps, nan=np.inf))
    rng = rng_for(c.seed, c.case.name, d.name, "entries")
    sure = c.autodiff is not None and (c.oracle_was_right or (c.traced and not c.autodiff.kinks))
    sure = sure and not (d.name in c.jumps and c.jumps[d.name].any())
    affordable = c.seconds / max(c.forward.cost(), 1e-9) / SAMPLES
    worst = min((1 if c.dear else FEW) if sure else WORST, max(1, int(affordable / 4)))
    picked, rest = where[order[:worst]], where[order[worst:]]
    if rest.size and not sure:
        picked = np.concatenate([picked, rng.choice(rest, min(RANDOM, worst, rest.size), replace=False)])
    cleared = _look(d, picked)
    c.oracle_was_right |= not cleared
    others = np.setdiff1d(where, picked)[: int(affordable)]
    if cleared and others.size:
        # everything looked at turned out to be right: look at the others too before saying so
        _look(d, others)


def _look(d: Difference, picked: Array) -> bool:
    """Whether all of these entries turned out to be right; what differences say of them becomes the answer."""
    c, answer, got, want = d.asked, d.answer, d.got.ravel(), d.answer.estimate
    gaps = np.abs(got[picked].astype(float) - want.value.ravel()[picked])
    reference = np.where(np.isfinite(gaps) & (gaps > 0), gaps, c.size(d.name))
    # a trace that met no tie knows that the kink is beside the point, if it is not within its rounding
    exact = c.autodiff is not None and c.traced and not c.autodiff.kinks
    jumps = c.jumps.get(d.name, np.zeros(want.value.shape, bool))
    if exact and not jumps.any() and len(picked) <= FEW and _met(d, picked, gaps):
        d.answer = replace(answer, oracle=answer.ask_differences_too())
        return False
    shrink = 0.37 if answer.oracle == "finite-differences" else 1.0
    found = c.differences.against(c.forward, d.name, picked, got[picked], accept=0.02 * reference, shrink=shrink)
    value, error = want.value.ravel().copy(), want.error.ravel().copy()
    lower, upper = answer.lower.ravel().copy(), answer.upper.ravel().copy()
    allowed = np.broadcast_to(np.asarray(d.allowance, float), want.value.shape).ravel()
    natural = c.natural(d.name)
    cleared, notes, kinks = True, list(answer.notes), 0
    for row, i in enumerate(picked):
        counts = not exact or bool(jumps.flat[i])
        _merge(found, row, int(i), (value, error, lower, upper), kinks_count=counts, natural=natural)
        kinks += int(upper[i] > lower[i])
        inside = lower[i] - allowed[i] <= got[i] <= upper[i] + allowed[i] and upper[i] > lower[i]
        cleared &= bool(inside or abs(got[i] - value[i]) <= error[i] + allowed[i])
    shape = want.value.shape
    if kinks:
        notes.append(f"{kinks} entries lie at a kink; accepted inside the interval of the one-sided derivatives")
    estimate = replace(want, value=value.reshape(shape), error=error.reshape(shape))
    d.answer = Answer(estimate, answer.ask_differences_too(), lower.reshape(shape), upper.reshape(shape), notes)
    return cleared


def _met(d: Difference, picked: Array, gaps: Array) -> bool:
    """Whether differences come out at the oracle's numbers at these entries, far from what was got."""
    c, want = d.asked, d.answer.estimate.value
    with np.errstate(invalid="ignore"):
        return all(
            c.differences.meets(c.forward, d.name, int(i), float(want.flat[i]), NEARLY * float(gap))
            for i, gap in zip(picked, gaps, strict=True)
        )


def _merge(
    found: Slopes, row: int, i: int, into: tuple[Array, Array, Array, Array], *, kinks_count: bool, natural: float
) -> None:
    """What differences say of entry ``i``: a kink replaces the estimate, a smooth disagreement takes its place too."""
    value, error, lower, upper = into
    f_value, f_error = found.value[row], found.error[row]
    if found.kink[row] and not kinks_count and np.isfinite(error[i]):
        return
    if found.kink[row]:
        lower[i], upper[i] = found.lower[row], found.upper[row]
        value[i], error[i] = f_value, 0.0
    elif np.isfinite(f_error):
        if not np.isfinite(error[i]) and f_error > max(0.5 * abs(f_value), 1e-2 * natural):
            return  # an error larger than the value says nothing, unless it is small against all that is summed here
        known = np.isfinite(error[i])
        agrees = known and abs(f_value - value[i]) <= f_error + error[i]
        if not known or (not agrees and upper[i] == lower[i]):
            value[i], error[i] = f_value, f_error
            lower[i] = upper[i] = f_value
