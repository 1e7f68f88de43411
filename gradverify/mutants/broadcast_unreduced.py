"""A broadcast that is not summed."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Mutated, changed
from gradverify.types import Array, Case, Gradients, Out, leaves


@registry.mutant("broadcast-unreduced", kind="gradient", caught_by="shape", causes="unreduced-broadcast")
def broadcast_unreduced(case: Case, upstream: Out, gradients: Gradients) -> Mutated | None:
    """The gradient of a broadcast primal keeps the shape of the upstream."""
    above = next(iter(leaves(upstream).values()))
    return changed(
        gradients, lambda g: np.broadcast_to(g, above.shape) / (above.size / g.size) if _smaller(g, above) else None
    )


def _smaller(g: Array, above: Array) -> bool:
    if g.size >= above.size or g.ndim > above.ndim:
        return False
    return all(n in (1, m) for n, m in zip(reversed(g.shape), reversed(above.shape), strict=False))
