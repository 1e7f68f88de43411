"""The derivative is taken at the wrong point."""

from __future__ import annotations

from gradverify import registry
from gradverify.causes._what_if import played_through
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("derivative-of-activation-not-preactivation")
def derivative_of_activation_not_preactivation(m: Measurement, ev: Evidence) -> Cause | None:
    """Taking the derivative of one activation at its output (a for z) gives exactly this gradient."""
    return played_through(
        m, ev, "derivative-of-activation-not-preactivation",
        "act'(z) wants the pre-activation z; written in terms of the output a it is another formula: "
        "tanh'(z) = 1 - a**2",
    )  # fmt: skip
