"""The fundamental theorem of calculus along a segment: sharp where differences are hopeless."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gradverify.registry import oracle
from gradverify.sampling import Forward
from gradverify.types import Adapter, Array, Case, Gradients

RADII = (1 / 4, 1 / 16, 1 / 128)
SHORTER = 1 / 1024  #: beside the shortest of them, to see in what steps the forward moves
FEW, MANY = 5, 9  #: Gauss-Legendre nodes; their difference is the quadrature error


@dataclass(frozen=True, kw_only=True)
class Balance:
    """Both sides over one segment of half length ``radius``, divided by its length."""

    change: float  #: (phi(x + Rv) - phi(x - Rv)) / 2R
    integral: float  #: the mean of <gradient, v> over the segment
    error: float
    radius: float
    steps: float = 0.0  #: noise of the forward that other segments show; a part of the error

    def with_steps(self, steps: float) -> Balance:
        """The same where the forward moves in steps of at least that."""
        more = max(0.0, steps - self.steps)
        return replace(self, error=self.error + 3 * more / (2 * self.radius), steps=self.steps + more)


@oracle("line-integral")
class LineIntegral:
    """f(x + Rv) - f(x - Rv) against Gauss-Legendre quadrature of <gradient, v>: no division by a small step.

    Error   rounding of f over the segment's length plus the difference of two quadratures: about 1e-14 relative in
            float64 and 1e-6 in float32 on smooth code. It judges the gradient on the whole segment, not at one point
    """

    name = "line-integral"
    independent = False

    def supports(self, adapter: Adapter, case: Case) -> str:
        """Needs a forward and a backward of the same precision."""
        return "" if case.primals else "there are no primals"

    def along(
        self, forward: Forward, gradients: Callable[[Case], Gradients], tangent: Mapping[str, Array], eps: float
    ) -> Balance | None:
        """The sharpest of a few segments; ``None`` where the forward leaves its domain or a gradient is not finite.

        gradients  (case) -> the implementation's own gradients there
        eps        unit roundoff of the gradients
        """
        found = [b for r in RADII if (b := self._segment(forward, gradients, tangent, r, eps)) is not None]
        best = min(found, key=lambda b: b.error, default=None)
        if best is not None and best.radius == RADII[-1]:
            found += [b for b in [self._segment(forward, gradients, tangent, SHORTER, eps)] if b is not None]
        return best and best.with_steps(_steps(best, found))

    def _segment(
        self,
        forward: Forward,
        gradients: Callable[[Case], Gradients],
        tangent: Mapping[str, Array],
        radius: float,
        eps: float,
    ) -> Balance | None:
        values, noise = forward.along(tangent, [radius, -radius])
        change = float(values[0] - values[1]) / (2 * radius)
        means, size = [], 0.0
        for nodes in (FEW, MANY):
            t, weight = np.polynomial.legendre.leggauss(nodes)
            total = 0.0
            for ti, wi in zip(t, weight, strict=True):
                g = gradients(forward.case.at(forward.moved(tangent, radius * float(ti))))
                parts = [np.asarray(g[k], dtype=float) * v for k, v in tangent.items() if g.get(k) is not None]
                total += float(wi) / 2 * float(sum(np.sum(p) for p in parts))
                size = max(size, float(np.sqrt(sum(np.sum(p**2) for p in parts))))
            means.append(total)
        error = 2 * abs(means[1] - means[0]) + 3 * float(noise.max()) / (2 * radius) + 8 * eps * size
        if not np.isfinite(error + change + means[1]):
            return None
        return Balance(change=change, integral=means[1], error=error, radius=radius)


def _steps(best: Balance, found: list[Balance]) -> float:
    """Noise of the forward that shows in shorter segments: what is off by it grows as they shrink.

    A wrong gradient is off by about the same over each. An iteration that stops early moves in steps, which no samples
    close together show.
    """
    shorter = [b for b in found if b.radius < best.radius]
    apart = [abs((b.change - b.integral) - (best.change - best.integral)) * 2 * b.radius for b in shorter]
    return max(apart, default=0.0)
