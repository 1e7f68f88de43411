"""Every call returns the same memory."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Array, Case, Gradients, Out, Pullback


@registry.mutant("buffer-reused", kind="contract", caught_by="second-call-equal", causes="stale-state")
def buffer_reused(adapter: Adapter) -> Adapter:
    """The arrays of the first call are filled again by every later call."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        kept: dict[str, Array | None] = {}

        def pull(upstream: Out) -> Gradients:
            for k, g in pullback(upstream).items():
                old = kept.get(k)
                if old is None or g is None or old.shape != g.shape:
                    kept[k] = None if g is None else np.array(g)
                else:
                    old[...] = g
            return dict(kept)

        return out, pull

    return Bent(adapter, vjp)
