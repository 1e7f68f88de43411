"""Only the full set of gradients is right."""

from __future__ import annotations

from gradverify import registry
from gradverify.mutants._tools import Bent
from gradverify.types import Adapter, Case, Gradients, Out, Pullback


@registry.mutant(
    "right-only-with-everything", kind="contract", caught_by="needs-grad-subset", causes="needs-grad-subset"
)
def right_only_with_everything(adapter: Adapter) -> Adapter:
    """Where only some primals ask for a gradient, it is doubled: a wrong index into ``needs_input_grad``."""
    bent = Bent(adapter, lambda inner, case: inner.vjp(case))

    def vjp_wrt(case: Case, names: frozenset[str]) -> tuple[Out, Pullback]:
        out, pullback = adapter.vjp(case)

        def pull(upstream: Out) -> Gradients:
            return {k: None if g is None or k not in names else 2 * g for k, g in pullback(upstream).items()}

        return out, pull

    bent.vjp_wrt = vjp_wrt  # type: ignore[attr-defined]  # an optional member of the protocol, looked up with getattr
    return bent
