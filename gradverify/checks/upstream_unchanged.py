"""Backward does not write into its upstream gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, exact, traits
from gradverify.errors import Unsupported
from gradverify.types import Bench, Measurement, leaves


@registry.check("upstream-unchanged", catches=("upstream-mutated",), level="quick")
def upstream_unchanged(bench: Bench) -> Iterator[Measurement]:
    """Backward leaves the upstream gradient as it was, to the bit.

    Why: the upstream belongs to the caller. After ``g[x < 0] = 0; return g`` the gradient of ``relu(y) + y`` is wrong,
    although relu's own gradient is right, which is why gradient checkers pass it.
    Right: ``return g * (x > 0)``. Wrong: ``g[x < 0] = 0; return g``.
    """
    if "no-upstream" in traits(bench):
        raise Unsupported("backward takes no upstream")
    upstream = copied(bench.upstream)
    before = {k: np.array(v) for k, v in leaves(upstream).items()}
    bench.run().pullback(upstream)
    for name, after in leaves(upstream).items():
        if after.size:
            wrong = int(np.sum(after != before[name]))
            yield Measurement(
                of=f"upstream {name}".strip(), got=np.array(after), want=exact(before[name]),
                scale=float(np.max(np.abs(before[name]))),
                why=f"backward wrote into its upstream gradient: {wrong} of {after.size} entries changed",
                facts={"leaf": name},
            )  # fmt: skip
