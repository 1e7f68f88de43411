"""Points for the affine map."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("affine")
def affine(rng: np.random.Generator) -> Iterator[Case]:
    """Affine maps that are not square, with a batch that differs from both widths; one sample, input, output."""
    for said, tags, B, n_in, n_out in (
        ("4x3-to-5", "", 4, 3, 5),
        ("7x2-to-3", "", 7, 2, 3),
        ("one-sample", "edge", 1, 3, 5),
        ("one-input", "edge", 4, 1, 5),
        ("one-output", "edge", 4, 3, 1),
    ):
        A, W = rng.normal(0, 1, (B, n_in)), rng.normal(0, 1, (n_out, n_in))
        yield point("affine", said, tags, A=A, W=W, b=rng.normal(0, 1, n_out))
    for said, tags, n_in, n_out in (("3-to-5", "", 3, 5), ("1-to-1", "edge", 1, 1)):
        a, W = rng.normal(0, 1, n_in), rng.normal(0, 1, (n_out, n_in))
        yield point("affine_example", said, tags, a=a, W=W, b=rng.normal(0, 1, n_out))
