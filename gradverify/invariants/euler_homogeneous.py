"""Euler's identity for homogeneous functions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.invariants._layers import HOMOGENEOUS, activations, depth, is_network, loss, target
from gradverify.invariants._layers import OPS as NETWORKS
from gradverify.invariants._tools import kept, leaned, single, usable, weighed, wide
from gradverify.types import Bench, Case, Measurement

#: op -> groups of primals that scale together, and the degree: f(c x) = c^k f(x) for c > 0
GROUPS: dict[str, tuple[tuple[tuple[str, ...], float], ...]] = {
    **dict.fromkeys(HOMOGENEOUS, ((("z",), 1),)),
    "affine": ((("W", "b"), 1),),
    "conv2d": ((("W", "b"), 1),),
    "mean_pool2d": ((("X",), 1),),
    "max_pool2d": ((("X",), 1),),
    "half_squared_error": ((("A", "Y"), 2),),
    "mse": ((("A", "Y"), 2),),
    "embedding": ((("table",), 1),),
    "dropout": ((("X",), 1),),
    "attention": ((("V",), 1),),
    "product": ((("p",), 1), (("q",), 1)),
    **dict.fromkeys(("batch_norm", "batch_norm_eval", "layer_norm"), ((("gamma", "beta"), 1),)),
}


def groups(case: Case) -> list[tuple[tuple[str, ...], float]]:
    """What scales together in this case, with its degree. Other ops say ``attrs={"homogeneous": {"x": 2}}``."""
    if case.op == "power":
        return [(("x",), float(case.constants.get("n", 2)))]
    if is_network(case):
        if loss(case) not in ("", "half_squared_error") or not set(activations(case)) <= set(HOMOGENEOUS):
            return []
        biases = [f"b{k}" for k in range(1, depth(case) + 1)]
        return [(("X", *biases, target(case)), 2)] if loss(case) else [(("X", *biases), 1)]
    said = case.attrs.get("homogeneous", {})
    return [*GROUPS.get(case.op, ()), *(((k,), float(degree)) for k, degree in dict(said).items())]


def applies(case: Case) -> bool:
    """Homogeneous in some of its primals."""
    return bool(groups(case))


@registry.invariant("euler-homogeneous", applies=applies, ops=(*GROUPS, "power", *NETWORKS))
def euler_homogeneous(bench: Bench) -> Iterator[Measurement]:
    """Sum of x df/dx = k f wherever f(c x) = c^k f(x): relu networks, squares, everything linear.

    Why: Euler's theorem ties the gradient to the value that the forward has just returned, at kinks too (there x is 0
    or the tied entries are equal). A wrong factor and a lost term both show.
    Right: ``dz = u * (z > 0)``. Wrong: ``dz = u * z * (z > 0)``.
    """
    u, out = single(bench.upstream), single(bench.run().out)
    gradients = kept(bench.gradients())
    for names, degree in groups(bench.case):
        pairs = [(k, bench.case.primals[k], gradients.get(k)) for k in names if k in bench.case.primals]
        if u is None or out is None or not pairs or not usable(out, *(g for _, _, g in pairs)):
            continue
        parts = [np.ravel(wide(x) * wide(g)) for _, x, g in pairs]
        values = np.ravel(wide(u) * wide(out))
        extra = sum(leaned(bench, k, x) for k, x, _ in pairs)
        yield weighed(
            bench, f"{', '.join(names)}: x df/dx against {degree:g} f",
            sum(p.sum() for p in parts), degree * values.sum(),
            np.concatenate([*parts, abs(degree) * values]), extra,
            f"the gradient of {', '.join(names)} breaks Euler's identity for a function of degree {degree:g}",
        )  # fmt: skip
