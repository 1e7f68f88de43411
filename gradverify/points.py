"""Points beside the given one, drawn where the given one cannot tell a right gradient from a wrong one.

Shapes and signs are kept, so that the drawn point stays in the domain: a positive array stays positive, a row of
probabilities sums to one, a symmetric positive definite matrix stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np

from gradverify.types import Array, Case, differentiable, leaves

SYMMETRIC = 64  #: roundings of the largest entry, what is left of the symmetry of X X^T


def cannot_tell(case: Case) -> list[str]:
    """Why a bug could hide at this point, one sentence each; empty for a generic point."""
    reasons = []
    for name, v in case.primals.items():
        if not differentiable(v) or not v.size:
            continue
        if v.size == 1:
            if v.ravel()[0] in (-1, 0, 1):  # a factor that is left out, or used twice, is not seen
                reasons.append(f"{name} is {v.ravel()[0]:.0f}")
        elif not np.any(v):
            reasons.append(f"{name} is all zeros")
        elif np.all(v == v.ravel()[0]):
            reasons.append(f"all entries of {name} are equal")
        elif v.ndim == 2 and v.shape[0] == v.shape[1] and np.array_equal(v, v.T):
            kept = _positive(v)
            also = (
                " and positive definite, and stays so beside: {0} taken for its transpose is not seen" if kept else ""
            )
            reasons.append(f"{name} is symmetric" + also.format(name))
        elif v.size > 2 and np.array_equal(v, np.flip(v)):
            reasons.append(f"{name} reads the same backwards")
        elif v.ndim >= 2 and v.shape[0] > 1 and np.all(v == v[:1]):
            reasons.append(f"all rows of {name} are equal")
        elif v.ndim >= 2 and v.shape[-1] > 1 and np.all(v == v[..., :1]):
            reasons.append(f"all columns of {name} are equal")
    if _uniform(case):
        reasons.append("all entries of the upstream are equal")
    return reasons


def _uniform(case: Case) -> bool:
    parts = leaves(case.upstream).values() if case.upstream is not None else ()
    return any(np.size(v) > 1 and np.all(np.asarray(v) == np.ravel(v)[0]) for v in parts)


def beside(case: Case, rng: np.random.Generator, name: str, symmetric: Collection[str] = ()) -> Case:
    """A generic point near ``case``: same shapes, signs and magnitudes; the primals ``symmetric`` stay so.

    The upstream is kept where it is generic: the user may have given the only kind that is supported.
    """
    near = {k: moved(v, rng) for k, v in case.primals.items() if differentiable(v)}
    near |= {k: np.asarray((near[k] + near[k].swapaxes(-1, -2)) / 2, dtype=near[k].dtype) for k in symmetric}
    return replace(case.at(near), name=name, upstream=None if _uniform(case) else case.upstream)


def moved(v: Array, rng: np.random.Generator) -> Array:
    """Other numbers of the same shape, signs and magnitude; what is not finite or complex stays."""
    if v.dtype.kind == "c" or not v.size or not np.all(np.isfinite(v)):
        return v
    typical = float(np.sqrt(np.mean(np.square(v, dtype=float)))) or 0.5
    signs = np.ones(v.shape) if np.any(v) and np.all(v >= 0) else rng.choice([-1.0, 1.0], v.shape)
    drawn = np.where(v != 0, v * rng.uniform(0.6, 1.4, v.shape), signs * typical * rng.uniform(0.2, 1.0, v.shape))
    return np.asarray(_kept_in_domain(v, drawn), dtype=v.dtype)


def are_shares(v: Array, axis: int = -1) -> bool:
    """Whether the entries along an axis are shares of one: probabilities, a label of one hot entry."""
    return bool(np.all(v >= 0)) and are_one(v, np.sum, axis)


def are_one(v: Array, size: Callable[..., Array], axis: int = -1) -> bool:
    """Whether a size (``np.sum``, ``np.linalg.norm``) of the entries along an axis is one everywhere.

    To within what float32 sums are; it only decides where to look, and judges nothing.
    """
    return bool(np.allclose(size(v, axis=axis), 1.0, rtol=1e-5, atol=0))


def is_symmetric(matrices: Array) -> bool:
    """Square and equal to the transpose, to within the rounding of a product; for stacks of matrices, too."""
    if matrices.ndim < 2 or matrices.shape[-1] != matrices.shape[-2] or matrices.shape[-1] < 2:
        return False
    size = float(np.max(np.abs(matrices), initial=0.0))
    within = SYMMETRIC * float(np.finfo(matrices.dtype).eps) * size
    return bool(np.max(np.abs(matrices - np.swapaxes(matrices, -1, -2)), initial=0.0) <= within)


def _kept_in_domain(given: Array, drawn: Array) -> Array:
    if given.ndim >= 1 and given.shape[-1] > 1 and are_shares(given):
        result: Array = drawn / drawn.sum(axis=-1, keepdims=True)
        return result
    if is_symmetric(given) and _positive(given):
        more = 0.1 * np.abs(np.diagonal(drawn, axis1=-2, axis2=-1))
        return np.asarray(given + more[..., None] * np.eye(given.shape[-1]))
    return drawn


def _positive(matrices: Array) -> bool:
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        return False
    return bool(np.any(np.triu(matrices, 1)))


def finite(out: Mapping[str, Array]) -> bool:
    """Whether a drawn point is inside the domain of the forward."""
    return all(np.all(np.isfinite(v)) for v in out.values())
