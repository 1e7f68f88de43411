"""A gradient is the gradient of something: its integral does not depend on the path."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from gradverify import registry
from gradverify.invariants._batch import ELEMENTWISE
from gradverify.invariants._layers import activations, is_network
from gradverify.invariants._tools import ACROSS, FLOOR, leaned, pulled, single, size, smallest, usable, varied, wide
from gradverify.types import Array, Bench, Case, Estimate, Measurement, differentiable

SMOOTH = (
    *(op for op in ELEMENTWISE if op not in ("relu", "leaky_relu", "elu")),
    "affine", "half_squared_error", "mse", "bce_with_logits", "softmax", "log_softmax", "softmax_cross_entropy",
    "softmax_cross_entropy_two_step", "layer_norm", "batch_norm", "batch_norm_eval", "standardise", "conv2d",
    "mean_pool2d", "rnn", "lstm", "attention", "product", "power", "exponential", "logarithm", "constant_multiple",
    "sum_rule", "chain_rule", "extended_chain_rule", "multivariable_chain_rule", "derivative_of_a_sum",
)  # fmt: skip
NETWORKS = ("two_layer", "network", "deep_network", "residual_block")
KINKED = {"relu", "leaky_relu", "elu"}
STEP = 0.1
SCALES = (1.0, 1 / 16, 1 / 256, 1 / 4096)  #: of the path: a steep place that quadrature misses is gone on a shorter one
NODES = (5, 4)  #: Gauss-Legendre: the value, and a coarser one whose distance is the error


def applies(case: Case) -> bool:
    """An op without kinks. Other ops say so by the tag "smooth"."""
    if case.op in NETWORKS:
        return is_network(case) and not KINKED & set(activations(case))
    return case.op in SMOOTH or "smooth" in case.tags


@registry.invariant("path-independence", applies=applies, ops=(*SMOOTH, *NETWORKS))
def path_independence(bench: Bench) -> Iterator[Measurement]:
    """The integral of the gradient around a closed loop is zero, and along each side what the forward changes by.

    Why: a field in which one layer's slope is missing is, as a rule, the gradient of nothing. There is no division by
    a small step, so it stays sharp in float32.
    Right: ``dz = u * (1 - a**2)``. Wrong: ``dz = u * (1 - z**2)``.
    """
    case, u = bench.case, single(bench.upstream)
    if u is None or not applies(case):
        return
    names = [k for k, g in bench.gradients().items() if g is not None and differentiable(case.primals[k])]
    start = {k: case.primals[k] for k in names}
    away = [{k: _moved(x, bench.rng) for k, x in start.items()} for _ in range(2)]
    if bench.eps > 1e-10 and max(map(size, start.values()), default=0.0) > 64:
        return  # float32 has no digits left for a path that is short enough
    found: list[Measurement] = []
    apart: list[float] = []
    for shrink in SCALES:
        corners = [start, *({k: _nearer(start[k], far[k], shrink) for k in names} for far in away)]
        around = _around(bench, u, corners)
        if found and any(np.max(m.rounding) > 1e-2 * m.scale for m in around):
            break  # too short to tell: what the longer path said stands
        found = around
        apart.append(max((float(abs(m.got - m.want.value)) / (m.scale or 1.0) for m in found), default=0.0))
        if all(_agrees(m) for m in found):
            yield from found
            return
    # a wrong gradient stays as wrong on a shorter path; a path that is too steep for the quadrature gets better
    persists = len(apart) > 1 and apart[-1] > 0.25 * apart[-2]
    yield from found if persists else (replace(m, want=_unknown(m.want)) for m in found)


def _unknown(estimate: Estimate) -> Estimate:
    return replace(estimate, error=np.full(np.shape(estimate.value), np.nan))


def _agrees(m: Measurement) -> bool:
    """Within quadrature error and rounding, and the quadrature has converged: else a shorter path is tried."""
    error = float(m.want.error)
    return bool(abs(m.got - m.want.value) <= error + m.rounding and error <= m.ask * m.scale)


def _around(bench: Bench, u: Array, corners: list[dict[str, Array]]) -> list[Measurement]:
    """The three sides of a triangle, each against the change of the forward, and their sum; empty where not finite."""
    outs = [single(bench.run(varied(bench.case, primals=c)).out) for c in corners]
    sides = [_along(bench, corners[i], corners[(i + 1) % 3]) for i in range(3)]
    if not usable(*outs) or not np.all(np.isfinite([s.value for s in sides])):
        return []
    values = [np.ravel(wide(u) * wide(out)) for out in outs]
    noise = sum(_noise(bench, u, corners[i], corners[(i + 1) % 3]) for i in range(3))
    # inside one op (logsumexp, erf) numbers as large as its arguments may be rounded, however small its value
    held = FLOOR * bench.eps * size(u) * max(size(x) for x in corners[0].values())
    found = []
    for i, side in enumerate(sides):
        j = (i + 1) % 3
        terms = float(np.sqrt(np.sum(values[i] ** 2) + np.sum(values[j] ** 2)))
        rounding = side.rounding + ACROSS * bench.eps * terms + 2 * noise + held + smallest(bench)
        found.append(
            _judged(
                f"side {i + 1}: integral against change of the forward",
                side.value,
                values[j].sum() - values[i].sum(),
                side.error,
                rounding,
                side.scale,
                "the integral of the gradient along a path is not what the forward changes by",
            )
        )
    total, error, rounding = (sum(getattr(s, k) for s in sides) for k in ("value", "error", "rounding"))
    found.append(
        _judged(
            "closed loop",
            total,
            0.0,
            error,
            rounding + smallest(bench),
            max(s.scale for s in sides),
            "the integral of the gradient around a closed loop is not zero: it is the gradient of nothing",
        )
    )
    return found


class _Side:
    """An integral along a segment with its quadrature error, allowance for rounding, and size."""

    def __init__(self, value: float, error: float, rounding: float, scale: float) -> None:
        self.value, self.error, self.rounding, self.scale = value, error, rounding, scale


def _along(bench: Bench, start: dict[str, Array], end: dict[str, Array]) -> _Side:
    step = {k: wide(end[k]) - wide(start[k]) for k in start}
    sums, terms, leaning = [], 0.0, 0.0
    for nodes in NODES:
        at, weights = np.polynomial.legendre.leggauss(nodes)
        total = 0.0
        for t, w in zip((at + 1) / 2, weights / 2, strict=True):
            point = {k: np.asarray(wide(start[k]) + t * step[k], dtype=start[k].dtype) for k in start}
            gradients = pulled(bench, varied(bench.case, primals=point), bench.upstream)
            parts = np.concatenate([np.ravel(wide(gradients[k]) * step[k]) for k in step])
            total += float(w * parts.sum())
            terms = max(terms, float(np.sqrt(np.sum(parts**2))))
            # the point is rounded to the working precision, as are its ends
            leaning = max(leaning, *(size(wide(gradients[k])) * size(start[k]) for k in step))
        sums.append(total)
    rounding = sum(leaned(bench, k, step[k]) for k in step) + bench.eps * (ACROSS * terms + 4 * leaning * STEP)
    return _Side(sums[0], 4 * abs(sums[0] - sums[1]), rounding, max(terms, abs(sums[0])))


def _noise(bench: Bench, u: Array, start: dict[str, Array], end: dict[str, Array]) -> float:
    """Rounding inside the forward near a corner: third differences of values so near that it is a parabola."""
    h = 1e-5 if bench.eps < 1e-10 else 1e-2  # of the side
    found = []
    for k in range(6):
        near = {n: np.asarray(wide(x) + k * h * (wide(end[n]) - wide(x)), dtype=x.dtype) for n, x in start.items()}
        out = single(bench.run(varied(bench.case, primals=near)).out)
        found.append(np.nan if out is None else float(np.sum(wide(u) * wide(out))))
    return FLOOR * size(np.diff(found, 3)) / float(np.sqrt(20))  # 20: the sum of squares of 1, 3, 3, 1


def _nearer(x: Array, far: Array, shrink: float) -> Array:
    return np.asarray(wide(x) + shrink * (wide(far) - wide(x)), dtype=x.dtype)


def _moved(x: Array, rng: np.random.Generator) -> Array:
    """Every entry moved by up to a tenth of itself, at most a tenth; zeros by up to a hundredth. Signs stay."""
    reach = np.where(x == 0, 0.1, np.minimum(np.abs(wide(x)), 1.0))
    return np.asarray(wide(x) + STEP * reach * rng.uniform(-1, 1, x.shape), dtype=x.dtype)


def _judged(of: str, got: float, want: float, error: float, rounding: float, scale: float, why: str) -> Measurement:
    return Measurement(
        of=of, got=np.asarray(got), want=Estimate(value=np.asarray(want), error=np.asarray(error)), rounding=rounding,
        scale=scale, why=why,
    )  # fmt: skip
