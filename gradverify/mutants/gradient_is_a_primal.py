"""A gradient is the memory of a primal."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Bent, received
from gradverify.types import Adapter, Case, Gradients, Out, Pullback


@registry.mutant("gradient-is-a-primal", kind="contract", caught_by="no-aliasing", causes="aliased")
def gradient_is_a_primal(adapter: Adapter) -> Adapter:
    """The gradient of a primal is written over the primal and handed out."""

    def vjp(inner: Adapter, case: Case) -> tuple[Out, Pullback]:
        given, lent = received(case)
        out, pullback = inner.vjp(lent)

        def pull(upstream: Out) -> Gradients:
            gradients = dict(pullback(upstream))
            for k, g in gradients.items():
                if g is not None and g.shape == given[k].shape:
                    given[k][...] = g
                    gradients[k] = given[k]
            return gradients

        return out, pull

    return Bent(adapter, vjp)
