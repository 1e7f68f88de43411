"""reference_impl, verified line by line, as the truth for ops that it has."""

from __future__ import annotations

from gradverify.registry import adapter as adapters
from gradverify.registry import oracle
from gradverify.sampling import widened
from gradverify.types import Adapter, Case, Gradients, Out, differentiable


@oracle("reference")
class Reference:
    """The op's pullback in reference_impl, in float64, for a case that names an op of the catalogue.

    Error   rounding only, 64 eps of the tensor's largest entry; independent of the implementation's own forward
    """

    name = "reference"
    independent = True

    def supports(self, adapter: Adapter, case: Case) -> str:
        """Needs a case with an ``op`` that reference_impl has."""
        if not case.op:
            return "the case names no op of the catalogue"
        from reference_impl import OPS

        return "" if case.op in OPS else f"reference_impl has no op {case.op!r}"

    def gradient(self, case: Case) -> tuple[Out, Gradients]:
        """(out, gradients) of the reference at ``case`` in float64."""
        reference = adapters["reference"].item(case.op, **case.attrs)
        out, pullback = reference.vjp(case.at({k: widened(v) for k, v in case.primals.items() if differentiable(v)}))
        assert case.upstream is not None  # the runner fills it in
        return out, pullback(case.upstream)
