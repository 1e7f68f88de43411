"""Points for whole networks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("networks")
def networks(rng: np.random.Generator) -> Iterator[Case]:
    """Networks of two and three layers whose widths and batch all differ; biases are not zero."""
    X, Y, labels = rng.normal(0, 1, (5, 3)), rng.normal(0, 1, (5, 2)), np.array([0, 1, 1, 0, 1])
    two, three = _layers(rng, (3, 4, 2)), _layers(rng, (3, 6, 4, 2))
    yield point("two_layer", "3-4-2", X=X, Y=Y, **two)
    yield point("two_layer", "tanh", constants={"sigma": "tanh"}, X=X, Y=Y, **two)
    yield point("two_layer", "one-sample", "edge", X=X[:1], Y=Y[:1], **two)
    yield point("network", "3-6-4-2", X=X, y=Y, **three)
    yield point("network", "sum", constants={"reduction": "sum", "activations": "tanh"}, X=X, y=Y, **three)
    classifier = {"y": labels, "activations": ("tanh", "sigmoid", "identity"), "loss": "softmax_cross_entropy"}
    yield point("network", "classifier", constants=classifier, X=X, **three)
    yield point("network", "one-sample", "edge", X=X[:1], y=Y[:1], **three)
    yield point("deep_network", "3-6-4-2", X=X, **three)
    yield point("deep_network", "checkpoints", constants={"every": 2}, X=X, **three)
    block: dict[str, Any] = {
        "W1": rng.normal(0, 1, (4, 3)),
        "b1": rng.normal(0, 1, 4),
        "W2": rng.normal(0, 1, (3, 4)),
        "b2": rng.normal(0, 1, 3),
    }
    yield point("residual_block", "5x3", X=X, **block)
    yield point("residual_block", "tanh", constants={"sigma": "tanh"}, X=X, **block)
    yield point("residual_block", "one-sample", "edge", X=X[:1], **block)


def _layers(rng: np.random.Generator, sizes: Sequence[int]) -> dict[str, Any]:
    """W1, b1, W2, b2, ... of widths ``sizes``."""
    found: dict[str, Any] = {}
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes), start=1):
        found[f"W{layer}"] = rng.normal(0, 0.8, (n_out, n_in))
        found[f"b{layer}"] = rng.normal(0, 0.5, n_out)
    return found
