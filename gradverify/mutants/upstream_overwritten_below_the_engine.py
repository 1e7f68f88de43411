"""Backward writes into its upstream, and an engine hides it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Gradients, Out, Pullback, leaves


class _BentBelow(Bent):
    """As the adapter inside, with a ``raw_vjp`` that misbehaves."""

    def __init__(self, inner: Adapter, below: Callable[[Case], tuple[Out, Pullback]]) -> None:
        super().__init__(inner, lambda adapter, case: adapter.vjp(case))
        self.raw_vjp = below


@registry.mutant(
    "upstream-overwritten-below-the-engine", kind="contract", caught_by="raw-backward", causes="upstream-mutated"
)
def upstream_overwritten_below_the_engine(adapter: Adapter) -> Adapter:
    """Called without the engine, backward halves its upstream in place after it has used it."""
    raw: Any = getattr(adapter, "raw_vjp", adapter.vjp)

    def below(case: Case) -> tuple[Out, Pullback]:
        out, pullback = raw(case)

        def pull(upstream: Out) -> Gradients:
            gradients = {k: None if g is None else np.array(g) for k, g in pullback(upstream).items()}
            for leaf in leaves(upstream).values():
                np.multiply(leaf, 0.5, out=leaf)
            return gradients

        return out, pull

    return _BentBelow(adapter, below)
