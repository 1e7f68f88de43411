"""Derivatives of one-variable functions from samples at shrinking steps, each with an error that it stands for.

For phi(t) sampled at t = +-h_k, h_k = h_0 / RATIO^k, three Richardson tables are built:

  central    (phi(h) - phi(-h)) / 2h          an expansion in h^2       -> the derivative where phi is smooth
  gap        (phi(h) - 2 phi(0) + phi(-h)) / h  odd powers of h         -> right minus left derivative: 0 where smooth
  right, left (phi(+-h) - phi(0)) / +-h       all powers of h           -> the one-sided derivatives at a kink

An entry of a table is believed as far as it agrees with its neighbours (Richardson 1911; Ridders 1982, "Accurate
computation of F'(x) and F'(x)F''(x)"), plus the rounding of the samples divided by the step. The entry with the
smallest such bound wins; where no two levels agree the answer is NaN: does not know.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradverify.types import Array

#: Not an integer: with steps in ratio 2 a fast oscillation is aliased onto a slow one and looks smooth at every level.
RATIO = 2.7
SAFETY = 1.5  #: claimed error = SAFETY x disagreement with the neighbours + rounding
ROUNDING = 3.0  #: how many sigmas of sample noise the bound covers


@dataclass(frozen=True)
class Limit:
    """The extrapolated value of one quantity as h -> 0, as seen from each level: (lines, levels) arrays."""

    value: Array
    error: Array  #: inf where this level agrees with nothing
    noise: Array  #: the part of ``error`` that is rounding

    def at(self, level: Array) -> tuple[Array, Array, Array]:
        """Value, error and noise of each line at its own level."""
        pick = np.arange(len(level)), level
        return self.value[pick], self.error[pick], self.noise[pick]


def extrapolate(rows: Array, noise: Array, powers: list[int], ratio: float = RATIO) -> Limit:
    """Limit of ``rows`` (lines, levels) as the step shrinks, eliminating h**p for p in ``powers`` in turn.

    noise  absolute rounding of each entry of ``rows``, same shape
    """
    best = Limit(np.full_like(rows, np.nan), np.full_like(rows, np.inf), np.zeros_like(rows))
    value, error, rounding = best.value, best.error, best.noise
    previous, amplified = rows, noise
    for power in powers[: max(0, rows.shape[1] - 1)]:
        factor = ratio**power
        current, grown, spread = (np.full_like(rows, np.nan) for _ in range(3))
        with np.errstate(all="ignore"):
            current[:, 1:] = previous[:, 1:] + (previous[:, 1:] - previous[:, :-1]) / (factor - 1.0)
            grown[:, 1:] = np.hypot(factor * amplified[:, 1:], amplified[:, :-1]) / (factor - 1.0)
            spread[:, 1:] = np.maximum(
                np.abs(current[:, 1:] - previous[:, 1:]), np.abs(current[:, 1:] - previous[:, :-1])
            )
            # agreement with the level above in the same column: one accident is common, two in a row are rare
            spread[:, 2:] = np.maximum(spread[:, 2:], np.abs(current[:, 2:] - current[:, 1:-1]))
            claimed = SAFETY * spread + ROUNDING * grown
        claimed = np.where(np.isfinite(claimed), claimed, np.inf)
        better = claimed < error
        value = np.where(better, current, value)
        rounding = np.where(better, ROUNDING * grown, rounding)
        error = np.where(better, claimed, error)
        previous, amplified = current, grown
    return Limit(value, error, rounding)


def _unrefuted(value: Array, doubt: Array) -> Array:
    """``doubt`` with inf where a finer level contradicts a level beyond both their doubts.

    The derivative is the limit of small steps: steps longer than the wavelength of an oscillation agree with each other
    on a slope that is not the function's.
    """
    kept = doubt.copy()
    for k in range(value.shape[1] - 1):
        apart = np.abs(value[:, k + 1 :] - value[:, k : k + 1])
        kept[:, k] = np.where(np.any(apart > doubt[:, k + 1 :] + doubt[:, k : k + 1], axis=1), np.inf, kept[:, k])
    return kept


def _steepens(change: Array, steps: Array) -> Array:
    """Lines whose one-sided slopes keep growing as the step shrinks: a vertical tangent (sqrt at 0)."""
    slopes = np.abs(change / steps)
    growing: Array = np.all(slopes[:, 1:] > RATIO**0.25 * slopes[:, :-1], axis=1)
    return growing


def _jumps(change: Array, noise: Array) -> Array:
    """Lines on which phi(h) - phi(-h) does not shrink with h: a jump, or steps that do not see the function at all."""
    levels = change.shape[1]
    near, far = np.abs(change[:, levels // 2 :]), np.abs(change[:, : levels // 2])
    jumps: Array = np.all(near > 1e3 * noise[:, levels // 2 :], axis=1) & (near.min(axis=1) > 0.5 * far.max(axis=1))
    return jumps


@dataclass(frozen=True)
class Slopes:
    """Derivatives along lines. ``kink`` marks lines whose one-sided derivatives differ beyond doubt."""

    value: Array
    error: Array
    lower: Array
    upper: Array
    kink: Array
    noise: Array
    one_sided: Array  #: the function exists on one side only


#: what a line is known by before anything was asked
NOTHING = Slopes(*(np.full(1, v) for v in (np.nan, np.inf, np.nan, np.nan, False, np.inf, False)))


def slopes(steps: Array, plus: Array, minus: Array, noise: Array) -> Slopes:
    """Derivatives at t = 0 from phi(+-h) - phi(0).

    steps        (lines, levels), each about 1/RATIO of the one before
    plus, minus  (lines, levels) samples phi(+h) - phi(0), phi(-h) - phi(0); NaN where phi does not exist
    noise        (lines, levels) absolute rounding of a sample
    """
    with np.errstate(all="ignore"):
        per_step = noise / steps
        central = extrapolate((plus - minus) / (2 * steps), per_step / np.sqrt(2), [2, 4, 6, 8])
        gap = extrapolate((plus + minus) / steps, per_step * np.sqrt(2), [1, 3, 5, 7, 9])
        right = extrapolate(plus / steps, per_step, [1, 2, 3, 4, 5])
        left = extrapolate(-minus / steps, per_step, [1, 2, 3, 4, 5])

        # smooth: the central value, at a level where the one-sided derivatives agree as well
        doubt = central.error + np.where(np.isfinite(gap.value), (np.abs(gap.value) + gap.error) / 2, np.inf)
        level = np.argmin(_unrefuted(central.value, doubt), axis=1)
        value, _, rounding = central.at(level)
        error = doubt[np.arange(len(level)), level]

        error = np.where(_jumps(plus - minus, noise), np.inf, error)

        # a kink: the one-sided derivatives differ by more than they can be wrong
        level = np.argmin(right.error + left.error, axis=1)
        (r, r_error, _), (q, q_error, _) = right.at(level), left.at(level)
        apart = np.abs(r - q)
        kink = (
            np.isfinite(apart) & (apart > 2 * (r_error + q_error)) & (apart > 1e-9 * np.maximum(np.abs(r), np.abs(q)))
        )
        kink &= ~(error < apart / 4) & ~_jumps(plus - minus, noise)
        lower = np.where(r < q, r - r_error, q - q_error)
        upper = np.where(r < q, q + q_error, r + r_error)
        value, error = np.where(kink, (r + q) / 2, value), np.where(kink, (upper - lower) / 2, error)

        # the edge of a domain: the function exists on one side only
        for this, there in ((right, minus), (left, plus)):
            level = np.argmin(this.error, axis=1)
            v, e, n = this.at(level)
            edge = np.isfinite(e) & ~np.isfinite(there).any(axis=1)
            e = np.where(_steepens(plus if this is right else minus, steps), np.inf, e)
            value, error, rounding = np.where(edge, v, value), np.where(edge, e, error), np.where(edge, n, rounding)
    return Slopes(
        value=value,
        error=error,
        lower=np.where(kink, lower, value),
        upper=np.where(kink, upper, value),
        kink=kink,
        noise=rounding,
        one_sided=np.asarray(~(np.isfinite(plus).any(axis=1) & np.isfinite(minus).any(axis=1))),
    )
