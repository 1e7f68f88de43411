"""Wrong when only some primals want a gradient, or a loss uses only some outputs."""

from __future__ import annotations

from gradverify import registry
from gradverify.causes._tools import changes
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("needs-grad-subset")
def needs_grad_subset(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient changes with the set of primals that ask for one, or with the outputs that are used."""
    if ev.check != "needs-grad-subset":
        return None
    return Cause(
        name="needs-grad-subset",
        evidence=f"{m.of}: {changes(m)}",
        suggestion="treat the upstream of each output by itself: None stands for zeros, and says nothing of the others"
        if "output" in m.facts
        else "check each ``needs_input_grad[i]`` against the position of its own argument",
        confidence=0.95,
    )
