"""The rounding of the autodiff itself: 1 - tanh^2 cancels for it as for anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradverify import rounding
from gradverify.oracles.torch_autograd import TorchAutograd
from gradverify.types import Array, rng_for

if TYPE_CHECKING:
    from gradverify.consult import Consultation


class AutodiffRounding:
    """Measured by running the autodiff with random rounding, when it is asked for, once for all primals."""

    def __init__(self, asked: Consultation) -> None:
        self._asked = asked
        self._once: dict[str, Array] | None = None
        self._spread: dict[str, Array] | None = None

    @property
    def known(self) -> bool:
        """Whether all runs were made."""
        return self._spread is not None

    def once(self, name: str) -> Array | None:
        """What one run shows of a gradient."""
        if self._once is None:
            self._once = self._runs(1)
        return self._once.get(name)

    def of(self, name: str) -> Array | None:
        """Absolute, per entry of a gradient; NaN where the derivative jumps; None where nothing was learned."""
        if self._spread is None:
            self._spread = self._runs(rounding.RUNS)
        return self._spread.get(name)

    def _runs(self, runs: int) -> dict[str, Array]:
        c = self._asked
        return rounding.of_oracle(
            lambda case: TorchAutograd().gradient(c.adapter, case, c.forward.out).gradients,
            c.case,
            rng_for(c.seed, c.case.name, "oracle rounding"),
            runs,
            {k: c.natural(k) for k in c.names},
        )
