"""Two gradients change places."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated
from gradverify.types import Case, Gradients, Out


@registry.mutant("swapped-parameters", kind="gradient", caught_by="pullback-matches-oracle", causes="permuted")
def swapped_parameters(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """The first two gradients of equal shape are exchanged, as in a tuple returned in the wrong order."""
    known = {k: g for k, g in gradients.items() if g is not None}
    for (a, first), (b, second) in combinations(known.items(), 2):
        if np.shape(first) == np.shape(second):
            return {**gradients, a: second, b: first}
    return None
