"""Backward of a linear map is its adjoint."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.invariants._tools import kept, leaned, single, usable, varied, weighed, wide
from gradverify.types import Bench, Case, Measurement

#: op -> primals in which it is linear up to a constant
LINEAR: dict[str, tuple[str, ...]] = {
    "identity": ("z",),
    "affine": ("A", "W", "b"),
    "affine_example": ("a", "W", "b"),
    "conv2d": ("X", "W", "b"),
    "mean_pool2d": ("X",),
    "embedding": ("table",),
    "dropout": ("X",),
    "attention": ("V",),
    "product": ("p", "q"),
    "batch_norm": ("gamma", "beta"),
    "layer_norm": ("gamma", "beta"),
    "batch_norm_eval": ("X", "gamma", "beta"),
}


def linear_in(case: Case) -> tuple[str, ...]:
    """Primals in which the op is linear up to a constant. Other ops say ``attrs={"linear": ("x",)}``."""
    return (*LINEAR.get(case.op, ()), *case.attrs.get("linear", ()))


def applies(case: Case) -> bool:
    """Linear in some primal."""
    return bool(linear_in(case))


@registry.invariant("linear-adjoint", applies=applies, ops=tuple(LINEAR))
def linear_adjoint(bench: Bench) -> Iterator[Measurement]:
    """<L v, u> = <v, backward(u)> for any v, where the forward is linear: L v = f(v) - f(0).

    Why: this is what transposing a linear map means; no derivative is needed. Padding, strides and repeated indices
    that forward and backward treat differently show.
    Right: ``np.add.at(dtable, indices, u)``. Wrong: ``dtable[indices] = u``.
    """
    case, u = bench.case, single(bench.upstream)
    gradients = kept(bench.gradients())
    for name in linear_in(case):
        gradient = gradients.get(name)
        if u is None or gradient is None or not usable(gradient):
            continue
        x = case.primals[name]
        v = np.asarray(bench.rng.standard_normal(x.shape), dtype=x.dtype)
        at_v = single(bench.run(varied(case, primals={name: v})).out)
        at_0 = single(bench.run(varied(case, primals={name: np.zeros_like(x)})).out)
        if at_v is None or at_0 is None or not usable(at_v, at_0):
            continue
        pairs = np.ravel(wide(v) * wide(gradient))
        values = np.ravel(wide(u) * wide(at_v)), np.ravel(wide(u) * wide(at_0))
        yield weighed(
            bench, f"{name}: <L v, u> against <v, backward(u)>", pairs.sum(), values[0].sum() - values[1].sum(),
            np.concatenate([pairs, *values]), leaned(bench, name, v),
            f"the gradient of {name} is not the adjoint of the forward, which is linear in {name}",
        )  # fmt: skip
