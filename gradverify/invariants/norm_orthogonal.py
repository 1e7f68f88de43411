"""Normalisation forgets mean and scale, so its gradient has no part along them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.invariants._tools import allowed, equal, kept, single, size, usable, wide
from gradverify.types import Bench, Case, Measurement

#: op -> (the primal that is normalised, the axis)
AXIS = {"batch_norm": ("X", -2), "layer_norm": ("X", -1), "standardise": ("x", -1)}


def applies(case: Case) -> bool:
    """Two entries or more are normalised together."""
    if case.op not in AXIS:
        return False
    name, axis = AXIS[case.op]
    return bool(case.primals[name].shape[int(case.constants.get("axis", axis))] >= 2)


@registry.invariant("norm-orthogonal", applies=applies, ops=tuple(AXIS))
def norm_orthogonal(bench: Bench) -> Iterator[Measurement]:
    """The gradient of a normalisation's input is orthogonal to 1 and, up to the known trace of eps, to x-hat.

    Why: adding a constant or scaling the input changes nothing. A backward that takes the mean or the variance as a
    constant, the classic mistake, has a part along them.
    Right: ``dx = (u - u.mean() - xhat * (u * xhat).mean()) / std``. Wrong: ``dx = u / std``.
    """
    case, u = bench.case, single(bench.upstream)
    if not applies(case) or u is None:
        return
    name, axis = AXIS[case.op]
    axis = int(case.constants.get("axis", axis))
    gradient = kept(bench.gradients()).get(name)
    if gradient is None or not usable(gradient):
        return
    x, dx = wide(case.primals[name]), wide(gradient)
    floor = float(case.constants.get("eps", 1e-5))
    centred = x - x.mean(axis=axis, keepdims=True)
    variance = (centred**2).mean(axis=axis, keepdims=True)
    root = np.sqrt(variance + floor)
    above = wide(u) * wide(case.primals.get("gamma", 1.0))
    terms = size(above / root)  # what is subtracted from each other on the way
    n = dx.shape[axis]
    along = dx.sum(axis=axis)
    budget = np.sqrt(n) * allowed(bench, name, max(size(np.abs(dx).sum(axis=axis)), terms))
    yield equal(bench, name, along, np.zeros_like(along), "along 1", "has a part along the mean, which changes nothing",
                terms=terms, budget=float(budget))  # fmt: skip
    x_hat = centred / root
    # f is unchanged when x and sqrt(eps) scale together: what is left along x-hat is the derivative by eps
    left = (floor / (variance + floor) * (above * x_hat).sum(axis=axis, keepdims=True) / root).sum(axis=axis)
    mean_error = bench.eps * size(x) / float(root.min())  # rounding of the mean, seen in x-hat
    budget = budget * max(1.0, size(x_hat)) + n * mean_error * terms
    yield equal(bench, name, (dx * x_hat).sum(axis=axis), left, "along x-hat", "has a part along the normalised input",
                terms=terms, budget=float(budget))  # fmt: skip
