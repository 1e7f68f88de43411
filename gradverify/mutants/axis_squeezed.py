"""An axis of length one is lost."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Case, Gradients, Out


@registry.mutant("axis-squeezed", kind="gradient", caught_by="shape", causes="unreduced-broadcast")
def axis_squeezed(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """Every axis of length one is dropped: (3, 1) becomes (3,), and the update broadcasts."""
    return changed(gradients, lambda g: np.squeeze(g) if 1 in g.shape else None)
