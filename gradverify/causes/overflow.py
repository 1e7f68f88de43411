"""A number became too large."""

from __future__ import annotations

import numpy as np

from gradverify import registry
from gradverify.causes._tools import float_primals, not_finite
from gradverify.types import Cause, Evidence, Measurement


@registry.cause("overflow")
def overflow(m: Measurement, ev: Evidence) -> Cause | None:
    """The gradient is not finite, and numbers in sight are large enough to overflow an exponential or a square."""
    bad = not_finite(m, ev)
    if bad is None:
        return None
    name, where = bad
    got = ev.got.get(name)
    infinite = got is not None and bool(np.any(np.isinf(got)))
    large = {k: float(np.max(np.abs(v), initial=0.0)) for k, v in float_primals(ev).items()}
    big = max(large, key=lambda k: large[k], default="")
    limit = {2: 11.0, 4: 80.0}.get(ev.case.primals[name].dtype.itemsize if name in ev.case.primals else 8, 350.0)
    if big and large[big] > limit:
        evidence, confidence = f"{where}; {big} reaches {large[big]:.4g}, where exp or its square overflows", 0.9
    elif infinite:
        evidence, confidence = f"{where}, infinite ones among them", 0.6
    else:
        return None
    return Cause(
        name="overflow",
        evidence=evidence,
        suggestion="subtract the maximum before exp, use the output (s * (1 - s)) in place of "
        "exp(-x) / (1 + exp(-x))**2",
        confidence=confidence,
    )
