"""Training works: stochastic gradient descent on arrays, with the gradients of the general algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reference_impl.clipping import clip_global_norm
from reference_impl.initialisation import initial_parameters
from reference_impl.network import network, predict
from reference_impl.shapes import Array, ArrayLike, bad, integers, real


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A classifier: W1, b1, ..., W_L, b_L, the activation of each layer, and the mean loss of each epoch in nats."""

    parameters: list[Array]
    activations: tuple[str, ...]
    losses: list[float]

    def classify(self, X: ArrayLike) -> Array:
        """The most probable class of each row. X (B, n_0) -> (B,) integers."""
        return np.asarray(predict(X, *self.parameters, activations=self.activations).argmax(axis=-1))

    def accuracy(self, X: ArrayLike, y: ArrayLike) -> float:
        """The share of rows classified as ``y`` (B,) says."""
        return float(np.mean(self.classify(X) == np.asarray(y)))


def fit_classifier(
    X: ArrayLike,
    y: ArrayLike,
    *,
    hidden: Sequence[int] = (64,),
    sigma: str = "relu",
    initialisation: str = "he",
    epochs: int = 30,
    batch: int = 32,
    rate: float = 0.1,
    momentum: float = 0.9,
    max_norm: float | None = None,
    seed: int = 0,
) -> Trained:
    """Fit a classifier by stochastic gradient descent: velocity = momentum velocity - rate gradient; W += velocity.

    X  (N, n_0) features of order 1; y  (N,) integers from 0; N >= 1; max_norm clips the gradients' common norm
    Raises ValueError where the shapes do not fit or there is nothing to fit.
    Derivation, sections 'The Backpropagation Algorithm' and 'Multivariable Derivatives' (descend along -gradient).
    """
    X = real("X", X, 2, "(N, n_0), samples in rows")
    labels = integers("y", y, below=np.iinfo(np.int64).max)
    if X.shape[0] == 0 or X.ndim != 2:
        raise bad("X", X, "(N, n_0) with N >= 1")
    if labels.shape != X.shape[:1]:
        raise bad("y", labels, f"{X.shape[:1]} integers to fit X of shape {X.shape}")
    if epochs < 1 or batch < 1:
        raise ValueError(f"epochs, batch: {epochs}, {batch}, expected numbers >= 1")
    rng = np.random.default_rng(seed)
    sizes = (X.shape[1], *hidden, int(labels.max()) + 1)
    activations = (sigma,) * len(hidden) + ("identity",)  # the loss takes logits
    parameters = [p.astype(X.dtype) for p in initial_parameters(sizes, rng, method=initialisation)]
    velocity = [np.zeros_like(p) for p in parameters]
    losses = []
    for _ in range(epochs):
        order = rng.permutation(len(X))
        total = 0.0
        for start in range(0, len(X), batch):
            rows = order[start : start + batch]
            loss, pullback = network(
                X[rows], labels[rows], *parameters, activations=activations, loss="softmax_cross_entropy"
            )
            _, _, *gradients = pullback(1.0)
            if max_norm is not None:
                gradients, _ = clip_global_norm(gradients, max_norm)
            velocity = [momentum * v - rate * g for v, g in zip(velocity, gradients, strict=True)]
            parameters = [p + v for p, v in zip(parameters, velocity, strict=True)]
            total += float(loss) * len(rows)
        losses.append(total / len(X))
    return Trained(parameters=parameters, activations=activations, losses=losses)
