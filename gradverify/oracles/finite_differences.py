"""Finite differences: value and error from samples of the forward alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradverify.oracles._adaptive import differentiate
from gradverify.oracles._ladder import Slopes
from gradverify.oracles._line import Line
from gradverify.oracles._noise import BESIDE, POINTS, SPACING, noise_of_samples
from gradverify.registry import oracle
from gradverify.rounding import of_forward
from gradverify.sampling import Forward
from gradverify.types import Adapter, Array, Case, Estimate, rng_for

FEW = 4096  #: roundings by which a primal is moved to see whether the code rounds it: far below one of float32
PRIMALS = 32  #: that are moved one by one
COARSE = (1e-6, 1e-5, 1e-4)  #: of the natural scale: several roundings of single precision, and of half
MANY = 64  #: samples from which it pays to find out how to take them together
CLEAR = 100.0  #: claimed errors that a slope is off by and no noise explains: noise would make the samples disagree


@oracle("finite-differences")
class FiniteDifferences:
    """Central differences on a step ladder with Richardson extrapolation; the claimed error covers the true one.

    Error   about 1e-11 .. 1e-12 relative in float64 on smooth code; the function's own noise is measured (Hamming's
            difference table) and limits it; at a kink the one-sided derivatives are reported; inf: does not know
    Source  Richardson 1911; Ridders 1982; More and Wild 2011
    """

    name = "finite-differences"
    independent = False

    def supports(self, adapter: Adapter, case: Case) -> str:
        """Applies wherever there is a forward."""
        return "" if case.primals else "there are no primals"

    def scales(self, forward: Forward, name: str) -> Array:
        """Natural size of each entry of a primal: its magnitude, or that of its tensor where it is nearly zero."""
        return forward.scales(name)

    def noise_floor(self, forward: Forward) -> float:
        """Absolute noise of phi near the case: what a difference table and random rounding show, at least its rounding.

        The table lies beside the case, not around it: a kink at the case itself is not noise.
        """
        if forward.floor is None:
            rng = rng_for(0, forward.case.name, "noise")
            beside = forward.direction({k: np.zeros(forward.base[k].shape) for k in forward.names}, [0, POINTS])
            values, rounding = forward.along(beside, list(BESIDE + SPACING * np.arange(POINTS)))
            sigma = max(noise_of_samples(values), self._of_rounded_arguments(forward))
            measured = max(2 * sigma if np.isfinite(sigma) else 0.0, of_forward(forward, rng))
            forward.floor = max(measured, float(np.nanmax(rounding, initial=0.0)))
        return forward.floor

    def rounds(self, forward: Forward, name: str) -> bool:
        """Whether the code rounds a primal to fewer digits before it computes: a step below that moves nothing.

        ``x.astype(np.float32)`` is constant between two float32 numbers, and so is everything that comes of it: small
        steps agree with each other on a slope of zero, or on the one that the other primals have.
        """
        if name not in forward.rounded:
            there = forward.vector({name: forward.base[name] * (1 + FEW * forward.eps)})
            forward.rounded[name] = np.array_equal(there, forward.origin, equal_nan=True)
        return forward.rounded[name]

    def _of_rounded_arguments(self, forward: Forward) -> float:
        """Noise of phi where the primals that the code rounds are moved by more than one of its roundings."""
        names = [k for k in forward.names[:PRIMALS] if self.rounds(forward, k)]
        if not names:
            return 0.0
        beside = forward.direction({k: np.zeros(forward.base[k].shape) for k in forward.names}, [0, POINTS])
        tangent = {k: beside[k] for k in names}
        for spacing in COARSE:
            values, _ = forward.along(tangent, list(spacing * (1 + np.arange(POINTS))))
            if len(np.unique(values)) >= POINTS - 2:
                break
        return noise_of_samples(values)

    def entries(
        self,
        forward: Forward,
        name: str,
        indices: Array,
        *,
        accept: Array | float,
        shrink: float = 1.0,
        floor: float | None = None,
    ) -> Slopes:
        """Derivatives of phi along single entries of a primal.

        indices  (n,) flat indices; accept: absolute error at which an entry is finished
        shrink   another ladder for a second opinion: all steps times this
        floor    as for ``along``
        """
        base = forward.base[name]
        flat_base = base.ravel()
        least = self.noise_floor(forward) if floor is None else floor

        def sample(lines: Array, steps: Array) -> tuple[Array, Array]:
            if forward.many is not None and steps.size >= MANY:
                values, noise = forward.many(name, indices[lines], steps)
                return values, np.maximum(noise, least)
            values, noise = np.empty(steps.shape), np.empty(steps.shape)
            for row, line in enumerate(lines):
                unit = np.zeros(base.size)
                unit[indices[line]] = 1.0
                values[row], noise[row] = forward.along({name: unit.reshape(base.shape)}, list(steps[row]))
            return values, np.maximum(noise, least)

        scales = self.scales(forward, name).ravel()[indices] * shrink
        return differentiate(sample, scales, accept=accept, at=flat_base[indices].real.astype(float))

    def against(
        self, forward: Forward, name: str, indices: Array, said: Array, *, accept: Array | float, shrink: float = 1.0
    ) -> Slopes:
        """As ``entries``; the noise of phi is measured only where it could matter to whether a slope is ``said``."""
        if forward.floor is None:
            least = forward.noise_of(forward.origin)
            found = self.entries(forward, name, indices, accept=accept, shrink=shrink, floor=least)
            with np.errstate(invalid="ignore"):
                # samples that are all the same agree because they are rounded to one number: that is no agreement
                clear = (np.abs(said - found.value) > CLEAR * found.error) & ~found.kink & (found.value != 0)
            if np.all(clear) and not self.rounds(forward, name):
                return found
        return self.entries(forward, name, indices, accept=accept, shrink=shrink)

    def meets(self, forward: Forward, name: str, at: int, said: float, within: float) -> bool:
        """Whether two small steps (four samples) along one entry come out at ``said``: to confirm it, not to find it.

        at  flat index; within: absolute
        """
        size = self.scales(forward, name).flat[at]
        unit = np.zeros(forward.base[name].shape)
        unit.flat[at] = size
        near = Line(forward, {name: unit}, forward.noise_of(forward.origin)).two()
        return bool(abs(near.value - size * said) <= size * within)

    def along(
        self, forward: Forward, tangent: Mapping[str, Array], *, accept: float, floor: float | None = None
    ) -> Slopes:
        """Derivative of phi along ``tangent``, whose entries have the natural size of the primals (one line).

        floor  absolute noise of phi where the caller knows it; measured otherwise (some thirteen forwards, once)
        """
        return self.on(Line(forward, tangent, self.noise_floor(forward) if floor is None else floor), accept=accept)

    def on(self, line: Line, *, accept: float) -> Slopes:
        """Derivative along a line, kinks included, with the samples that it has and those that it takes more."""
        # many entries move together: from 1/128 of their size one block of steps suffices, where noise allows it
        first, floor = 1.0, line.floor
        if accept > 0 and np.isfinite(floor):
            first = min(1.0, max(1 / 16, 8 * 60 * floor / accept))
        return differentiate(line.sample, np.full(1, first), accept=accept)

    def gradient(self, forward: Forward, *, accept: Mapping[str, float]) -> dict[str, Bracketed]:
        """Every entry of every primal; ``accept`` is the absolute error asked for, by primal."""
        found = {}
        for name in forward.names:
            base = forward.base[name]
            if not base.size:
                empty = np.zeros(base.shape)
                found[name] = Bracketed(Estimate(value=empty, error=empty), empty, empty)
                continue
            slopes = self.entries(forward, name, np.arange(base.size), accept=accept[name])
            found[name] = bracketed(slopes, base.shape)
        return found


@dataclass(frozen=True)
class Bracketed:
    """An estimate with the interval of the one-sided derivatives (equal ends where the function is smooth)."""

    estimate: Estimate
    lower: Array
    upper: Array


def bracketed(slopes: Slopes, shape: tuple[int, ...]) -> Bracketed:
    """Slopes of all entries of an array; "does not know" is NaN, at a kink the interval carries the error."""
    error = np.where(np.isfinite(slopes.error), slopes.error, np.nan)
    error = np.where(slopes.kink, 0.0, error)
    notes = []
    if slopes.kink.any():
        notes.append(f"{int(slopes.kink.sum())} entries at a kink")
    if slopes.one_sided.any():
        notes.append(f"{int(slopes.one_sided.sum())} entries at the edge of the domain, one-sided")
    estimate = Estimate(value=slopes.value.reshape(shape), error=error.reshape(shape), note="; ".join(notes))
    return Bracketed(estimate, slopes.lower.reshape(shape), slopes.upper.reshape(shape))
