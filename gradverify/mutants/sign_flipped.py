"""The sign of every gradient is wrong."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("sign-flipped", kind="gradient", caught_by="pullback-matches-oracle", causes="sign")
def sign_flipped(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every gradient has the wrong sign: ascent in place of descent."""
    return changed(gradients, lambda g: -g)
