"""Points for softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("softmax")
def softmax(rng: np.random.Generator) -> Iterator[Case]:
    """Rows of logits, not square; columns; one class; ties; +-1e4."""
    z = rng.normal(0, 2, (5, 4))
    for op in ("softmax", "log_softmax"):
        yield point(op, "5x4", z=z)
        yield point(op, "columns", constants={"axis": -2}, z=z)
        yield point(op, "one-class", "edge", z=rng.normal(0, 1, (3, 1)))
        yield point(op, "equal", "edge", z=np.full((2, 3), 0.4))
        yield point(op, "far", "large saturated", z=np.array([[1e4, 0.0, -1e4], [-1e4, 1e4 - 1, 1e4], [0.5, 0.0, 1.0]]))
