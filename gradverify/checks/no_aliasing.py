"""Gradients own their memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, count, traits
from gradverify.errors import Unsupported
from gradverify.types import Array, Bench, Measurement, leaves


@registry.check("no-aliasing", catches=("aliased",), requires=("shape",))
def no_aliasing(bench: Bench) -> Iterator[Measurement]:
    """A gradient shares memory with no primal, no constant, and no gradient of another primal.

    Why: ``dW *= clip`` on a gradient that is the memory of x changes x; ``da += ...`` on a gradient that is also db
    changes db. A gradient that is the upstream itself, or a view of it, is common (flatten, add, identity) and only
    noted: whoever accumulates in place must copy it first. So is a primal or constant handed on where the loss is
    inside and no upstream multiplies it: the gradient of x @ w is w.
    Right: ``return u * w, u * x``. Wrong: ``buffer[...] = u * w; return buffer, buffer``.
    """
    if "engine" in traits(bench):
        raise Unsupported("the engine hands out gradients of its own")
    run = bench.run()
    upstream = copied(bench.upstream)
    found = run.pullback(upstream)
    gradients = {k: np.asarray(g) for k, g in found.items() if g is not None and np.size(g)}
    others: dict[str, Array] = {**run.given, **{k: v for k, v in run.constants.items() if isinstance(v, np.ndarray)}}
    handed_on = "no-upstream" in traits(bench)
    lent = {k for k, g in gradients.items() if any(shared(g, u) for u in leaves(upstream).values())}
    for name, gradient in gradients.items():
        owners = [k for k, v in others.items() if shared(gradient, v)]
        whose = [*(["the upstream"] if name in lent else []), *(owners if handed_on else [])]
        notes = tuple(f"the gradient of {name} is a view of {w}: copy it before changing it in place" for w in whose)
        yield count(
            f"{name} and what was given", 0 if handed_on else len(owners),
            f"the gradient of {name} shares memory with {', '.join(owners)}: changing one changes the other",
            notes=notes, facts={"primal": name, "shares_with": tuple(owners)},
        )  # fmt: skip
    for a, b in combinations(gradients, 2):
        if not (a in lent and b in lent):
            yield count(
                f"{a} and {b}", shared(gradients[a], gradients[b]),
                f"the gradients of {a} and {b} share memory: adding into one changes the other",
                facts={"primal": a, "shares_with": (b,)},
            )  # fmt: skip


def shared(a: Array, b: Array) -> bool:
    """Whether two arrays have a byte in common, exactly."""
    return bool(np.may_share_memory(a, b) and np.shares_memory(a, b))
