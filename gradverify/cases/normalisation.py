"""Points for normalisation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("normalisation")
def normalisation(rng: np.random.Generator) -> Iterator[Case]:
    """Batches whose features differ in mean and scale, with gamma that is not 1: where it is, a lost gamma hides."""
    X = rng.normal(rng.normal(0, 2, 4), rng.uniform(0.5, 3, 4), (6, 4))
    affine = {"gamma": rng.uniform(0.5, 2, 4) * rng.choice([-1, 1], 4), "beta": rng.normal(0, 1, 4)}
    yield point("standardise", "6x4", x=X)
    yield point("standardise", "columns", constants={"axis": -2}, x=X)
    yield point("standardise", "nearly-equal", "edge", x=1e-3 * rng.normal(0, 1, (2, 5)))
    for op in ("batch_norm", "layer_norm"):
        yield point(op, "6x4", X=X, **affine)
        yield point(op, "eps", constants={"eps": 0.1}, X=X, **affine)
    yield point("batch_norm", "three-samples", "edge", X=X[:3], **affine)
    yield point("layer_norm", "one-sample", "edge", X=X[:1], **affine)
    statistics = {"mean": rng.normal(0, 1, 4), "var": rng.uniform(0.5, 3, 4)}
    yield point("batch_norm_eval", "6x4", constants=statistics, X=X, **affine)
    yield point("batch_norm_eval", "one-sample", "edge", statistics, X=X[:1], **affine)
