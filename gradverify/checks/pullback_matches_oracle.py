"""The gradient is the derivative of the forward."""

from __future__ import annotations

from collections.abc import Iterator

from gradverify.registry import check
from gradverify.types import Bench, Measurement


@check(
    "pullback-matches-oracle",
    catches=("sign", "scale", "transposed", "missing-term"),
    level="quick",
)
def pullback_matches_oracle(bench: Bench) -> Iterator[Measurement]:
    """Every gradient equals the derivative of the forward itself, to the rounding of both, for a random upstream.

    The derivative comes from oracles that never use the backward (autodiff of the forward, differences, the reference),
    each with its own error; at a kink any value between the one-sided derivatives is right. A gradient of another shape
    (see ``shape``) is compared entry by entry where it has as many entries, so that one wrong shape hides nothing.
    Right: ``dx = u * (1 - tanh(x)**2)``. Wrong: ``dx = u * (1 - tanh(x))``.
    """
    yield from bench.settled()
