"""Points for ops that pick entries: dropout and embedding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("selection")
def selection(rng: np.random.Generator) -> Iterator[Case]:
    """Given masks of dropout; rows of an embedding, one used twice, one not at all, the first and the last one."""
    X, mask = rng.normal(0, 1, (3, 4)), rng.random((3, 4)) < 0.6
    yield point("dropout", "3x4", constants={"mask": mask, "rate": 0.4}, X=X)
    yield point("dropout", "nothing-dropped", "edge", {"mask": np.ones((3, 4)), "rate": 0.0}, X=X)
    yield point("dropout", "all-dropped", "edge", {"mask": np.zeros((3, 4)), "rate": 0.5}, X=X)
    table = rng.normal(0, 1, (6, 3))
    yield point("embedding", "repeated", constants={"indices": np.array([[0, 2, 2], [5, 0, 2]])}, table=table)
    yield point("embedding", "each-once", constants={"indices": np.arange(6)[::-1].copy()}, table=table)
    yield point("embedding", "last-row", "edge", {"indices": np.array([5])}, table=table)
