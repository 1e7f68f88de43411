"""Which directions to ask about when asking about every entry is too dear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gradverify.types import Array, Measurement

if TYPE_CHECKING:
    from gradverify.consult import Consultation

DROWNED = 1e-3  #: no primal is shrunk below this part of its natural scale


def direction(
    scales: Mapping[str, Array], gradients: Mapping[str, Array], rng: np.random.Generator
) -> dict[str, Array]:
    """Random +-1 over all primals together, in natural units, each primal weighted to contribute about alike.

    scales     natural size of every entry
    gradients  what the contributions are estimated from; only the weights depend on them
    """
    signs = {k: rng.choice([-1.0, 1.0], v.shape) for k, v in scales.items()}
    sizes = {}
    for k, v in scales.items():
        g = np.nan_to_num(np.asarray(gradients[k], dtype=float), nan=0.0, posinf=0.0, neginf=0.0)
        sizes[k] = float(np.sqrt(np.sum((g * v) ** 2))) if g.shape == v.shape else 0.0
    smallest = min((s for s in sizes.values() if s > 0), default=1.0)
    weight = {k: max(DROWNED, smallest / s) if s > 0 else 1.0 for k, s in sizes.items()}
    return {k: weight[k] * scales[k] * signs[k] for k in scales}


def measure(consultation: Consultation) -> list[Measurement]:
    """Gradients along directions (placeholder until the probes are built)."""
    raise NotImplementedError
