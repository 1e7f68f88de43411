"""The adjoint identity: an implementation's forward mode and backward against each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradverify.registry import oracle
from gradverify.types import Adapter, Array, Case, inner


@oracle("adjoint")
class Adjoint:
    """<J v, u> = <v, J^T u>, with the implementation's own jvp: exact, no step, no other code.

    Error   rounding only, 64 eps of the largest contribution; needs an adapter with ``jvp(case, tangents)``
    Source  the dot test of the inverse-problems community, e.g. Claerbout, Earth Soundings Analysis (1992), section 5.3
    """

    name = "adjoint"
    independent = True

    def supports(self, adapter: Adapter, case: Case) -> str:
        """Needs the implementation's own jvp."""
        return "" if getattr(adapter, "jvp", None) is not None else "the implementation has no jvp of its own"

    def along(self, adapter: Adapter, case: Case, tangent: Mapping[str, Array]) -> float:
        """<J tangent, upstream>."""
        upstream = case.upstream if case.upstream is not None else np.ones(())
        return inner(adapter.jvp(case, tangent), upstream)  # type: ignore[attr-defined]  # asked for in supports
