"""A deep classifier of ``reference_impl``'s ops, with the remedies of the text switched on one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradverify.studies._rates import gain
from reference_impl import activation, affine, batch_norm, layer_norm, softmax_cross_entropy
from reference_impl.clipping import clip_by_value, clip_global_norm
from reference_impl.initialisation import initial_parameters

NORMS = {"batch": batch_norm, "layer": layer_norm}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One network: how it is initialised and which remedies it has. ``times`` scales the initial weights."""

    group: str
    sigma: str
    initialisation: str
    times: float = 1.0
    normalisation: str = ""
    residual: bool = False
    clipping: str = ""

    @property
    def name(self) -> str:
        """For example ``relu, he x 2, residual``."""
        scaled = self.initialisation + (f" x {self.times:g}" if self.times != 1 else "")
        more = [f"{self.normalisation} norm" if self.normalisation else "", "residual" if self.residual else ""]
        return ", ".join(p for p in (self.sigma, scaled, *more, self.clipping and f"clipped by {self.clipping}") if p)


@dataclass(frozen=True, kw_only=True)
class Passed:
    """What one forward and backward pass leaves: index 0 is layer 1; the last layer hands logits to the loss.

    gradients  dW of each layer; gains: w of each layer; deltas (dL/dz) and slopes (rms sigma'(z)): of all but the last
    """

    gradients: list[Any]
    deltas: list[float]
    gains: list[float]
    slopes: list[float]
    loss: float


def parameters_of(s: Scenario, sizes: Sequence[int], rng: np.random.Generator) -> list[Any]:
    """W1, b1, ... at the scenario's initialisation."""
    drawn = initial_parameters(sizes, rng, method=s.initialisation)
    return [s.times * p for p in drawn]


def passed(s: Scenario, X: Any, labels: Any, parameters: Sequence[Any]) -> Passed:
    """Forward, loss and backward through all layers. X (B, n_0), labels (B,)."""
    sigma = activation(s.sigma)
    a, back, slopes = X, [], []
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    for W, b in layers[:-1]:
        z, through_affine = affine(a, W, b)
        through_norm = None
        if s.normalisation:
            z, through_norm = NORMS[s.normalisation](z, np.ones(z.shape[1]), np.zeros(z.shape[1]))
        new, through_sigma = sigma(z)
        slopes.append(float(np.sqrt(np.mean(through_sigma(np.ones_like(new))[0] ** 2))))
        skip = s.residual and new.shape == a.shape
        a = a + new if skip else new
        back.append((through_affine, through_norm, through_sigma, skip))
    logits, through_last = affine(a, *layers[-1])
    loss, through_loss = softmax_cross_entropy(logits, labels)
    da, dW, _ = through_last(through_loss(1.0)[0])
    gradients: list[Any] = [dW]
    deltas: list[float] = []
    for through_affine, through_norm, through_sigma, skip in reversed(back):
        delta = through_sigma(da)[0]
        delta = through_norm(delta)[0] if through_norm else delta
        deltas.insert(0, float(np.linalg.norm(delta)))
        through, dW, _ = through_affine(delta)
        da = da + through if skip else through
        gradients.insert(0, dW)
    return Passed(
        gradients=_clipped(s.clipping, gradients),
        deltas=deltas,
        gains=[gain(W) for W, _ in layers],
        slopes=slopes,
        loss=float(loss),
    )


def _clipped(how: str, gradients: list[Any]) -> list[Any]:
    if how == "norm":
        return clip_global_norm(gradients, 1.0)[0]
    return [clip_by_value(g, limit=0.01)[0] for g in gradients] if how == "value" else gradients


SCENARIOS = (
    Scenario(group="initialisation", sigma="tanh", initialisation="xavier"),
    Scenario(group="initialisation", sigma="tanh", initialisation="xavier", times=0.5),
    Scenario(group="initialisation", sigma="tanh", initialisation="xavier", times=3),
    Scenario(group="initialisation", sigma="relu", initialisation="he"),
    Scenario(group="initialisation", sigma="relu", initialisation="xavier"),
    Scenario(group="initialisation", sigma="relu", initialisation="he", times=2),
    Scenario(group="activation", sigma="sigmoid", initialisation="xavier"),
    Scenario(group="activation", sigma="tanh", initialisation="xavier"),
    Scenario(group="activation", sigma="relu", initialisation="he"),
    Scenario(group="activation", sigma="leaky_relu", initialisation="he"),
    Scenario(group="activation", sigma="gelu", initialisation="he"),
    Scenario(group="normalisation", sigma="sigmoid", initialisation="xavier"),
    Scenario(group="normalisation", sigma="sigmoid", initialisation="xavier", normalisation="batch"),
    Scenario(group="normalisation", sigma="relu", initialisation="he", times=0.5),
    Scenario(group="normalisation", sigma="relu", initialisation="he", times=0.5, normalisation="batch"),
    Scenario(group="normalisation", sigma="relu", initialisation="he", times=0.5, normalisation="layer"),
    Scenario(group="residual", sigma="sigmoid", initialisation="xavier"),
    Scenario(group="residual", sigma="sigmoid", initialisation="xavier", residual=True),
    Scenario(group="residual", sigma="tanh", initialisation="xavier", times=0.5),
    Scenario(group="residual", sigma="tanh", initialisation="xavier", times=0.5, residual=True),
    Scenario(group="clipping", sigma="relu", initialisation="he", times=2),
    Scenario(group="clipping", sigma="relu", initialisation="he", times=2, clipping="norm"),
    Scenario(group="clipping", sigma="relu", initialisation="he", times=2, clipping="value"),
)
