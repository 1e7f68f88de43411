"""``reference_impl`` as a target: every op of the catalogue.

pytest --pyargs gradverify.conformance --gradverify-target=gradverify.conformance.targets.reference:target
"""

from __future__ import annotations

from gradverify import registry
from gradverify.conformance.target import Capabilities
from gradverify.errors import UsageError
from gradverify.types import Case, Out, Pullback


class ReferenceTarget:
    """Each op through the adapter ``reference``."""

    name = "reference_impl"
    framework = "numpy"
    capabilities = Capabilities()

    def supports(self, case: Case) -> bool:
        """Whatever the reference has."""
        try:
            registry.adapter["reference"].item(case.op)
        except UsageError:
            return False
        return True

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """The op and its own pullback."""
        found: tuple[Out, Pullback] = registry.adapter["reference"].item(case.op).vjp(case)
        return found


target = ReferenceTarget()
