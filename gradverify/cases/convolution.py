"""Points for convolution and pooling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("convolution")
def convolution(rng: np.random.Generator) -> Iterator[Case]:
    """Images and kernels that are not square; overlap, strides that do not divide, padding, ties in a window."""
    X, b = rng.normal(0, 1, (2, 3, 5, 6)), rng.normal(0, 1, 4)
    yield point("conv2d", "3x2", X=X, W=rng.normal(0, 1, (4, 3, 3, 2)), b=b)
    pair = {"stride": (2, 3), "padding": (1, 2)}
    yield point("conv2d", "stride-2x3", constants=pair, X=X, W=rng.normal(0, 1, (4, 3, 2, 3)), b=b)
    yield point("conv2d", "does-not-divide", "edge", {"stride": 2}, X=X, W=rng.normal(0, 1, (4, 3, 2, 3)), b=b)
    yield point("conv2d", "whole-image", "edge", X=X[:1], W=rng.normal(0, 1, (4, 3, 5, 6)), b=b)
    yield point("conv2d", "1x1", "edge", X=X, W=rng.normal(0, 1, (4, 3, 1, 1)), b=b)
    # a permutation keeps the entries of every window apart, so that no window is near a tie
    apart = rng.permutation(120).reshape(2, 2, 5, 6) / 20 - 3
    for op in ("max_pool2d", "mean_pool2d"):
        yield point(op, "2x2", X=apart)
        yield point(op, "overlap", constants={"size": (3, 2), "stride": 1}, X=apart)
        yield point(op, "does-not-divide", "edge", {"size": 2, "stride": (3, 2)}, X=apart)
        yield point(op, "whole-image", "edge", {"size": (5, 6)}, X=apart[:1])
    yield point("max_pool2d", "tie", "kink edge", X=np.array([[[[1.0, 1.0, 0.5, 3.0], [1.0, 0.0, 2.0, -1.0]]]]))
