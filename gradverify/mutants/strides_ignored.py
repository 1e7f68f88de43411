"""The upstream is read as if it were contiguous."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import bent_pullback
from gradverify.types import Adapter, Array, Gradients, Out, Pullback, leaves, like


@registry.mutant("strides-ignored", kind="contract", caught_by="upstream-layouts", causes="layout")
def strides_ignored(adapter: Adapter) -> Adapter:
    """The strides of the upstream are ignored: as many numbers as it has are read from where it starts."""

    def pull(pullback: Pullback, upstream: Out) -> Gradients:
        return pullback(like(upstream, {k: _raw(np.asarray(v)) for k, v in leaves(upstream).items()}))

    return bent_pullback(adapter, pull)


def _raw(array: Array) -> Array:
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    numbers = base.ravel(order="K")
    return np.resize(numbers, array.shape)
