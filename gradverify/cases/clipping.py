"""Points for clipping."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("clipping")
def clipping(rng: np.random.Generator) -> Iterator[Case]:
    """Vectors that are cut, that are not, and that lie on the limit."""
    G = rng.choice([-1.0, 1.0], (3, 4)) * rng.uniform(0.2, 2, (3, 4))
    yield point("clip_by_value", "some", constants={"limit": 1.0}, G=G)
    yield point("clip_by_value", "none", "edge", {"limit": 10.0}, G=G)
    yield point("clip_by_value", "on-the-limit", "kink edge", {"limit": 0.5}, G=np.array([0.5, -0.5, 0.1, 2.0]))
    yield point("clip_by_norm", "longer", constants={"max_norm": 0.5}, G=G)
    yield point("clip_by_norm", "shorter", "edge", {"max_norm": 50.0}, G=G)
