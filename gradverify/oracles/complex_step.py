"""Complex step: one evaluation per entry and no subtraction."""

from __future__ import annotations

import numpy as np

from gradverify.errors import Unsupported
from gradverify.registry import oracle
from gradverify.sampling import Forward, evaluate, flat, quiet
from gradverify.types import Adapter, Array, Case, Estimate

STEP = 1e-30  #: of the natural scale: its square is lost beside anything
ROUNDINGS = 64.0
TURNED = np.exp(0.25j * np.pi)  #: a direction off both axes, which tells analytic code from code that looks like it


@oracle("complex-step")
class ComplexStep:
    """Im f(x + ih) / h: exact to rounding, for forwards that are analytic and accept complex numbers.

    Error   rounding only, 64 eps of the largest sum of terms (of the tensor's largest entry, where the outputs do not
            cancel); declines where the code is not analytic (abs, conj, a
            cast to real), found out by comparing two directions in the complex plane and the real part with f(x)
    Source  Squire and Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998)
    """

    name = "complex-step"
    independent = False

    def supports(self, adapter: Adapter, case: Case) -> str:
        """NumPy forwards of real primals only."""
        if getattr(adapter, "framework", "numpy") != "numpy" or getattr(adapter, "call", None) is None:
            return "the adapter's forward takes no complex numbers"
        return "complex primals" if any(v.dtype.kind == "c" for v in case.primals.values()) else ""

    def gradient(self, forward: Forward) -> dict[str, Estimate]:
        """Every entry of every primal. Raises Unsupported when the forward is not analytic."""
        self._analytic(forward)
        found = {}
        for name in forward.names:
            base = forward.base[name]
            slopes, terms = np.empty(base.size), 0.0
            for i in range(base.size):
                slopes[i], size = self._imaginary(forward, name, i, base.ravel()[i])
                terms = max(terms, size)
            if not np.all(np.isfinite(slopes)):
                raise Unsupported("the complex step is not finite")
            bound = ROUNDINGS * np.finfo(float).eps * terms
            found[name] = Estimate(value=slopes.reshape(base.shape), error=np.full(base.shape, bound))
        return found

    def _imaginary(self, forward: Forward, name: str, i: int, x: float) -> tuple[float, float]:
        """The slope, and the sum of the magnitudes of its terms, one for each output: they may cancel."""
        step = STEP * (abs(x) or 1.0)
        moved = forward.base[name].astype(complex)
        moved.ravel()[i] += 1j * step
        parts = np.real(forward.weights * _vector(forward, {name: moved}).imag) / step
        return float(np.sum(parts)), float(np.sum(np.abs(parts)))

    def _analytic(self, forward: Forward) -> None:
        rng = np.random.default_rng(0)
        real = {k: forward.base[k] for k in forward.names}
        tangent = {k: rng.choice([-1.0, 1.0], v.shape) * np.where(v != 0, np.abs(v), 1.0) for k, v in real.items()}
        small = 1e-7
        there = _vector(forward, {k: forward.base[k] + small * TURNED * v for k, v in tangent.items()})
        axis = _vector(forward, {k: forward.base[k] + 1j * STEP * v for k, v in tangent.items()})
        if not np.all(np.abs(axis.real - forward.origin) <= 1e-12 * np.max(np.abs(forward.origin), initial=0.0)):
            raise Unsupported("the real part at a complex step is not the plain value")
        slope = axis.imag / STEP
        turned = (there - forward.origin) / (small * TURNED)
        size = np.max(np.abs(slope), initial=0.0) + np.max(np.abs(turned), initial=0.0)
        if not np.all(np.abs(turned - slope) <= 1e-4 * size + 1e-8 * np.max(np.abs(forward.origin), initial=0.0)):
            raise Unsupported("the forward is not analytic")


def _vector(forward: Forward, changed: dict[str, Array]) -> Array:
    """The flattened complex output. Raises Unsupported where complex numbers are refused or dropped."""
    forward.evaluations += 1
    try:
        with quiet():
            return flat(evaluate(forward.adapter, forward.case.at(changed))).astype(complex)
    except Exception as error:  # user code may refuse complex numbers in any way
        raise Unsupported(f"the forward refuses complex numbers: {error}") from error
