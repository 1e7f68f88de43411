"""The pullback of a composition is the composition of the pullbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.errors import AdapterError
from gradverify.invariants._layers import activations, depth, is_network, loss, target
from gradverify.invariants._tools import FLOOR, allowed, equal, kept, pulled, single, size, smallest, usable, wide
from gradverify.types import Array, Bench, Case, Measurement, Out

Chain = Callable[[Bench, Case, Array], dict[str, Array]]


def applies(case: Case) -> bool:
    """An op that is made of others of the catalogue, or that composes with itself."""
    if case.op in ("network", "two_layer"):
        return is_network(case)
    return case.op in CHAINS


def _back(
    bench: Bench, op: str, constants: Mapping[str, Any] | None = None, /, **primals: Any
) -> tuple[Array, Callable[[Out], dict[str, Array]]]:
    """Another op of the same implementation: its output and its pullback."""
    case = Case(name=op, op=op, primals=primals, constants=constants or {})
    supports = getattr(bench.adapter, "supports", None)
    if op != bench.case.op and (supports is None or not supports(case)):
        raise _Missing
    out = single(bench.run(case).out)
    if out is None:
        raise _Missing

    def back(upstream: Out) -> dict[str, Array]:
        found = pulled(bench, case, upstream)
        if not usable(*found.values()):
            raise _Missing
        return {k: g for k, g in found.items() if g is not None}

    return np.array(out), back


class _Missing(Exception):
    """The implementation lacks an op that the composition needs."""


@registry.invariant(
    "composition", applies=applies,
    ops=("network", "two_layer", "affine", "relu", "log_softmax", "layer_norm", "batch_norm"),
)  # fmt: skip
def composition(bench: Bench) -> Iterator[Measurement]:
    """What an op's backward returns is what the backwards of its parts return, one after the other.

    Why: the chain rule. A network's fused backward is compared with the same implementation's own layers; an affine
    map of an affine map is an affine map; log-softmax is a logarithm of a softmax.
    Right: ``delta1 = (delta2 @ W2) * slope1``. Wrong: ``delta1 = delta2 * slope1`` where the shapes allow it.
    """
    case, u = bench.case, single(bench.upstream)
    if u is None or not applies(case):
        return
    try:
        got, want, terms = CHAINS[case.op](bench, case, u)
    except (_Missing, AdapterError):
        return
    for name, wanted in want.items():
        found = got.get(name)
        if found is not None and usable(found, wanted) and name in bench.gradients():
            scale = max(size(wanted), size(found), terms.get(name, 0.0))
            budget = 2 * allowed(bench, name, scale) + FLOOR * bench.eps * terms.get(name, 0.0) + smallest(bench)
            yield equal(bench, name, found, wanted, "composed of its parts", "is not the composition of the pullbacks",
                        terms=scale, budget=budget)  # fmt: skip


Compared = tuple[dict[str, Array | None], dict[str, Array], dict[str, float]]


def _network(bench: Bench, case: Case, u: Array) -> Compared:
    """Affine maps, activations and the loss, one after the other."""
    a, backs = np.array(case.primals["X"]), []
    for layer, sigma in enumerate(activations(case), start=1):
        z, through = _back(bench, "affine", A=a, W=case.primals[f"W{layer}"], b=case.primals[f"b{layer}"])
        a, bend = _back(bench, sigma, z=z)
        backs.append((layer, through, bend))
    name, reduction = target(case), {"reduction": case.constants.get("reduction", "mean")}
    y = {**case.primals, **case.constants}[name]
    if loss(case) == "softmax_cross_entropy":
        _, back = _back(bench, "softmax_cross_entropy", {**reduction, "y": y}, z=a)
        delta = back(u)["z"]
        want = {}
    else:
        _, back = _back(bench, "half_squared_error", reduction, A=a, Y=y)
        both = back(u)
        delta, want = both["A"], {name: both["Y"]}
    for layer, through, bend in reversed(backs):
        parts = through(bend(delta)["z"])
        want[f"W{layer}"], want[f"b{layer}"], delta = parts["W"], parts["b"], parts["A"]
    want["X"] = delta
    assert depth(case) == len(backs)
    return kept(bench.gradients()), want, {}


def _affine(bench: Bench, case: Case, u: Array) -> Compared:
    """A second affine map V a + c after this one, in two steps and in one with the weights V W and V b + c."""
    W, b = wide(case.primals["W"]), wide(case.primals["b"])
    n = W.shape[0] + 1
    V, c = bench.rng.choice([-2.0, -1.0, 1.0, 2.0], (n, W.shape[0])), bench.rng.choice([-1.0, 1.0], n)
    cast = case.primals["W"].dtype
    V, c = V.astype(cast), c.astype(cast)
    above = np.asarray(bench.rng.choice([-1.0, 1.0, 2.0], (*u.shape[:-1], n)), dtype=u.dtype)
    middle, first = _back(bench, "affine", **dict[str, Any](case.primals))
    _, second = _back(bench, "affine", A=middle, W=V, b=c)
    _, joint = _back(bench, "affine", A=case.primals["A"], W=(V @ W).astype(cast), b=(V @ b + c).astype(cast))
    stepped, fused = first(second(above)["A"]), joint(above)
    chained = {
        "A": fused["A"],
        "W": wide(V).T @ wide(fused["W"]),
        "b": wide(V).T @ wide(fused["b"]),
    }
    terms = {
        "A": size(np.abs(above) @ np.abs(V) @ np.abs(W)),
        "W": size(np.abs(V).T @ (np.abs(above).T @ np.abs(case.primals["A"]))),
        "b": size(np.abs(V).T @ np.abs(above).sum(axis=0)),
    }
    return dict(stepped), chained, terms


def _relu(bench: Bench, case: Case, u: Array) -> Compared:
    """Relu of relu is relu. Where z <= 0, relu is 0 and its slope there is a convention: those entries are 0 anyway."""
    out, first = _back(bench, "relu", **dict[str, Any](case.primals))
    _, second = _back(bench, "relu", z=out)
    z = case.primals["z"]
    stepped, once = first(second(u)["z"])["z"], first(u)["z"]
    return {"z": np.where(z == 0, 0, stepped)}, {"z": np.where(z == 0, 0, once)}, {}


def _log_softmax(bench: Bench, case: Case, u: Array) -> Compared:
    """The logarithm of a softmax, where no probability is so small that its logarithm would be lost."""
    p, first = _back(bench, "softmax", dict(case.constants), **dict[str, Any](case.primals))
    if not (p > 1e-4).all():
        raise _Missing
    _, second = _back(bench, "logarithm", x=p)
    terms = {"z": size(u) * u.size}
    return kept(bench.gradients()), {"z": first(second(u)["x"])["z"]}, terms


def _norm(bench: Bench, case: Case, u: Array) -> Compared:
    """Standardise, then scale by gamma: the gradient of X."""
    axis = -2 if case.op == "batch_norm" else -1
    floor = float(case.constants.get("eps", 1e-5))
    X, above = case.primals["X"], np.asarray(u * case.primals["gamma"], u.dtype)
    _, back = _back(bench, "standardise", {"axis": axis, "eps": floor}, x=X)
    root = float(np.sqrt(wide(X).var(axis=axis).min() + floor))
    terms = {"X": size(above) / root * max(1.0, size(X) / root)}  # of which much may cancel; rounding of the mean too
    return kept(bench.gradients()), {"X": back(above)["x"]}, terms


CHAINS: dict[str, Callable[[Bench, Case, Array], Compared]] = {
    "network": _network,
    "two_layer": _network,
    "affine": _affine,
    "relu": _relu,
    "log_softmax": _log_softmax,
    "layer_norm": _norm,
    "batch_norm": _norm,
}
