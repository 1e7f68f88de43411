"""One output for all forwards."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Array, Case, Out, Pullback, leaves, like


@registry.mutant("one-output-buffer", kind="contract", caught_by="shared-node", causes="aliased")
def one_output_buffer(adapter: Adapter) -> Adapter:
    """Every forward writes its output into the same memory, as with ``np.matmul(x, W, out=self.buffer)``."""
    kept: dict[tuple[str, tuple[int, ...], str], Array] = {}

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = inner.vjp(case)
        buffers = {}
        for k, v in leaves(out).items():
            array = np.asarray(v)
            buffers[k] = kept.setdefault((k, array.shape, str(array.dtype)), np.empty_like(array))
            buffers[k][...] = array
        return like(out, buffers), pullback

    bent = Bent(adapter, vjp)
    bent.evaluate = lambda case: adapter.vjp(case)[0]  # type: ignore[attr-defined]  # the forward alone makes a new one
    return bent
