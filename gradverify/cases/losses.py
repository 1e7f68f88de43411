"""Points for losses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case

REDUCTIONS = ("sum", "none")


@registry.case_family("losses")
def losses(rng: np.random.Generator) -> Iterator[Case]:
    """Batches that are not square, every reduction, labels with the first and the last class, one sample, +-1e4.

    Labels are constants: they have no gradient.
    """
    A, Y = rng.normal(0, 1, (3, 4)), rng.normal(0, 1, (3, 4))
    for op in ("half_squared_error", "mse", "huber"):
        yield point(op, "3x4", A=A, Y=Y)
        for reduction in REDUCTIONS:
            yield point(op, reduction, constants={"reduction": reduction}, A=A, Y=Y)
        yield point(op, "one-sample", "edge", A=A[:1], Y=Y[:1])
        yield point(op, "exact", "edge", A=Y, Y=Y)
    yield point("huber", "delta", constants={"delta": 0.5}, A=A, Y=Y)
    yield point("huber", "far", "large", A=1e4 * A, Y=Y)
    yield from binary(rng)
    for op in ("softmax_cross_entropy", "softmax_cross_entropy_two_step"):
        yield from classes(op, rng)
    far = np.array([[1e4, 0.0, -1e4], [0.0, -1e4, 1e4]])
    yield point("softmax_cross_entropy", "far", "large saturated", {"y": np.array([1, 2])}, z=far)
    sure = np.array([[30.0, 0.0, -5.0], [0.0, 2.0, 40.0], [0.5, 0.0, 1.0]])
    yield point("softmax_cross_entropy", "sure", "saturated", {"y": np.array([0, 2, 1])}, z=sure)


def binary(rng: np.random.Generator) -> Iterator[Case]:
    """Two classes from one logit."""
    z, y = rng.normal(0, 2, (4, 3)), rng.integers(0, 2, (4, 3)).astype(float)
    op = "bce_with_logits"
    yield point(op, "4x3", constants={"y": y}, z=z)
    yield point(op, "soft", constants={"y": rng.uniform(0, 1, (4, 3))}, z=z)
    for reduction in REDUCTIONS:
        yield point(op, reduction, constants={"y": y, "reduction": reduction}, z=z)
    yield point(op, "one-axis", "edge", {"y": y[:, 0]}, z=z[:, 0])
    yield point(
        op, "far", "large saturated", {"y": np.array([[1.0, 0.0], [1.0, 0.0]])}, z=1e4 * np.array([[1, 1], [-1, -1]])
    )


def classes(op: str, rng: np.random.Generator) -> Iterator[Case]:
    """Several classes; the batch differs from their number and the last class is present."""
    z, labels = rng.normal(0, 2, (5, 4)), np.array([0, 3, 1, 1, 2])
    soft = rng.uniform(0.1, 1, (5, 4))
    yield point(op, "5x4", constants={"y": labels}, z=z)
    yield point(op, "one-hot", constants={"y": np.eye(4)[labels]}, z=z)
    yield point(op, "soft", constants={"y": soft / soft.sum(axis=1, keepdims=True)}, z=z)
    for reduction in REDUCTIONS:
        yield point(op, reduction, constants={"y": labels, "reduction": reduction}, z=z)
    yield point(op, "one-sample", "edge", {"y": np.array([3])}, z=z[:1])
    yield point(op, "last-class", "edge", {"y": np.array([3, 3])}, z=z[:2])
