"""How gradients change from layer to layer: the fitted rate, and a verdict with its reason.

Derivation, section 'Gradient Magnitude Analysis': with weights of size w and slopes of size s the gradient of layer l
is proportional to (w s)^(L - l). w is the mean gain of the matrix, ||W||_F / sqrt(n_out), which is what W^T does to the
length of a vector that knows nothing of W; s is the root mean square of sigma'(z).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: A first layer that gets less than a hundredth (more than a hundred times) of what the last one gets is in trouble:
#: no single learning rate serves both.
TOO_FAR = 100.0

#: With fewer layers there is no rate to speak of.
FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The fitted factor from a layer to the one before it, and how well an exponential describes the norms (R^2)."""

    factor: float
    fit: float


def gain(W: np.ndarray) -> float:
    """The mean gain of W^T, ||W||_F / sqrt(n_out), for W (n_out, n_in); kernels count as (n_out, the rest)."""
    return float(np.linalg.norm(np.asarray(W, dtype=float)) / math.sqrt(max(np.shape(W)[0], 1)))


def fitted(norms: Sequence[float]) -> Rate:
    """The least-squares exponential through the norms of layers 1 .. L, against L - l; NaN where there is none."""
    values = np.asarray(norms, dtype=float)
    good = np.isfinite(values) & (values > 0)
    if good.sum() < 2:
        return Rate(factor=math.nan, fit=math.nan)
    behind = (len(values) - 1 - np.arange(len(values)))[good]
    logs = np.log(values[good])
    slope, intercept = np.polyfit(behind, logs, 1)
    left = float(np.sum((logs - (slope * behind + intercept)) ** 2))
    total = float(np.sum((logs - logs.mean()) ** 2))
    return Rate(
        factor=float(np.exp(slope)), fit=1 - left / total if total > 1e-20 else 1.0
    )  # equal norms: the line is them


def verdict(
    norms: Sequence[float], deltas: Sequence[float] = (), w: float = math.nan, s: float = math.nan
) -> tuple[str, str]:
    """The word "vanishing", "healthy", "exploding" or "too shallow", and the reason in one sentence.

    norms   of the gradients dL/dW of layers 1 .. L, the first nearest to the input
    deltas  the same of dL/dz, which the law of the text is about; empty or NaN where unknown. With small weights the
            activations shrink on the way forward as the deltas do on the way back, so that all dL/dW are equally small
    w, s    the typical gain of the weights and slope of the activations, NaN where unknown
    """
    values = np.asarray(norms, dtype=float)
    if not np.isfinite(values).all():
        return "exploding", f"the gradient of layer {int(np.argmin(np.isfinite(values))) + 1} is not finite"
    if not values.all():
        return "vanishing", f"the gradient of layer {int(np.argmin(values != 0)) + 1} is exactly zero"
    if len(values) < FEWEST:
        return "too shallow", f"{len(values)} layers have no rate; {FEWEST} are needed"
    series = {"dL/dW": values, "dL/dz": np.asarray(deltas, dtype=float)}
    known = {k: v for k, v in series.items() if len(v) == len(values) and np.isfinite(v).all() and v.all()}
    ratios = {k: float(v[0] / v[-1]) for k, v in known.items()}
    what = max(ratios, key=lambda k: abs(math.log(ratios[k])))
    ratio, rate = ratios[what], fitted(list(known[what]))
    said = f"{what} of layer 1 is {ratio:.1e} of that of layer {len(values)}, a factor {rate.factor:.3g} per layer"
    if ratio < 1 / TOO_FAR:
        return "vanishing", said + _blame(w, s, below=True)
    if ratio > TOO_FAR:
        return "exploding", said + _blame(w, s, below=False)
    return "healthy", said


def _blame(w: float, s: float, *, below: bool) -> str:
    """Which of the two factors does it."""
    if not math.isfinite(w):
        return ""
    if not math.isfinite(s):
        return f"; the weights' gain is w = {w:.3g}"
    product = f"w s = {w:.3g} * {s:.3g} = {w * s:.3g}"
    if (w * s < 1) != below:
        return f"; not by {product}, which counts no skip, no normalisation and no alignment"
    which = "the slopes are" if (s < w) == below else "the weights are"
    return f"; {product}: {which} too {'small' if below else 'large'}"
