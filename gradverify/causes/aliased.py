"""Two arrays are one piece of memory."""

from __future__ import annotations

from gradverify import registry
from gradverify.causes._tools import changes
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("aliased")
def aliased(m: Measurement, ev: Evidence) -> Cause | None:
    """A gradient shares memory with something else, or two arguments that are one array are mixed up."""
    if ev.check == "shared-node" and m.of.startswith("output"):
        return Cause(
            name="aliased",
            evidence=f"{m.of}: {changes(m)} after a later forward",
            suggestion="return a new array from every forward, not one buffer that is filled again",
            confidence=0.95,
        )
    if ev.check not in ("no-aliasing", "same-array-twice"):
        return None
    shares = m.facts.get("shares_with", ())
    evidence = m.why if ev.check == "no-aliasing" else f"{m.of}: {changes(m)} against two equal copies"
    return Cause(
        name="aliased",
        evidence=evidence,
        suggestion=f"return a copy{' of it' if shares else ''}, and key gradients by name or position, not by array",
        confidence=0.9,
    )
