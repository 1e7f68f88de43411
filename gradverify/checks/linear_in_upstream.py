"""A pullback is a linear map."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import combined, compared, copied, drawn_like, each, largest, snapshot, traits
from gradverify.errors import Unsupported
from gradverify.types import Array, Bench, Gradients, Measurement


@registry.check("linear-in-upstream", catches=("upstream-ignored", "extra-term"), requires=("shape", "deterministic"))
def linear_in_upstream(bench: Bench) -> Iterator[Measurement]:
    """pullback(a u + b v) = a pullback(u) + b pullback(v), and pullback(0) = 0 exactly.

    Why: whatever the derivative is, the chain rule makes backward linear in what comes from above. An upstream that is
    ignored, used twice, or only compared with zero is found without an oracle. Losses whose upstream has a default may
    ignore it; that is noted as a convention.
    Right: ``dx = u * (1 - y**2)``. Wrong: ``dx = 1 - y**2``.
    """
    if "no-upstream" in traits(bench):
        raise Unsupported("backward takes no upstream")
    pull = bench.run().pullback
    u = copied(bench.upstream)
    # an upstream that the user gave may be the only kind that is supported (one-hot): then only its multiples are asked
    v = each(u, lambda x: -1.7 * x) if getattr(bench, "own_upstream", False) else drawn_like(u, bench.rng)
    a, b = (float(x) for x in bench.rng.uniform(0.5, 1.5, 2) * (1, -1))
    at_u, at_v = snapshot(pull(copied(u))), snapshot(bench.run().pullback(copied(v)))
    nothing = snapshot(bench.run().pullback(each(u, np.zeros_like)))
    joint = snapshot(bench.run().pullback(combined(a, u, b, v)))
    if "upstream-optional" in traits(bench) and _same(at_u, at_v) and _same(at_u, nothing):
        said = ("backward ignores its upstream (which has a default): a convention of losses, multiply by it yourself",)
        yield from compared(bench, at_v, at_u, "any upstream", "changes with the upstream", notes=lambda _: said)
        return
    zeros = {k: None if g is None else np.where(np.isfinite(g), 0, g) for k, g in at_u.items()}
    yield from compared(
        bench, nothing, zeros, "upstream zero", "is not zero for an upstream of zeros",
        bound=dict.fromkeys(zeros, 0.0), facts={"upstream": "zero"},
    )  # fmt: skip
    want = {k: _sum(a, at_u[k], b, at_v.get(k)) for k in at_u}
    bound = {k: _bound(bench, k, (a, g), (b, at_v.get(k))) for k, g in at_u.items() if g is not None}
    yield from compared(
        bench, joint, want, "upstream a u + b v", "is not linear in the upstream",
        bound=bound,
        facts={"upstream": "sum", "a": a, "b": b},
    )  # fmt: skip


def _bound(bench: Bench, name: str, *terms: tuple[float, Array | None]) -> float:
    """Rounding of both sides: each pullback carries its own, scaled as it is scaled in the sum."""
    own = 2 * largest(bench.rounding(name)) * (1 + sum(abs(a) for a, _ in terms))
    return own + 8 * bench.eps * sum(abs(a) * largest(0.0 if g is None else g) for a, g in terms)


def _sum(a: float, x: Array | None, b: float, y: Array | None) -> Array | None:
    with np.errstate(all="ignore"):
        return None if x is None or y is None else np.asarray(a * x + b * y)


def _same(x: Gradients, y: Gradients) -> bool:
    return all(
        (g is None) == (y.get(k) is None) and (g is None or np.array_equal(g, np.asarray(y[k]))) for k, g in x.items()
    )
