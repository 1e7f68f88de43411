"""The reference with one planted bug per invariant: what each invariant is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradverify.conformance import load_target

RIGHT = load_target("gradverify.conformance.targets.reference:target")


@dataclass(frozen=True)
class Planted:
    """The reference, whose gradients of one op are bent: ``bend(arguments, upstream, gradients) -> changes``."""

    op: str
    bend: Callable[[dict[str, Any], Any, dict[str, Any]], dict[str, Any]]
    name: str = "planted"

    def supports(self, case):
        return RIGHT.supports(case)

    def vjp(self, case):
        out, pullback = RIGHT.vjp(case)
        if case.op != self.op:
            return out, pullback
        held = {**case.primals, **case.constants}
        held = {k: np.array(v) if isinstance(v, np.ndarray) else v for k, v in held.items()}

        def bent(upstream):
            gradients = pullback(upstream)
            return {**gradients, **self.bend(held, np.asarray(upstream), dict(gradients))}

        return out, bent


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def no_statistics(c, u, g):
    x = c["X"]
    return {"X": u * c["gamma"] / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)}


def overwritten(c, u, g):
    table = np.zeros_like(c["table"])
    table[c["indices"]] = u
    return {"table": table}


def upstream_ignored(c, u, g):
    return {"z": 1 - np.tanh(c["z"]) ** 2}


PLANTED: dict[str, Planted] = {
    "batch-additivity": Planted("softmax_cross_entropy", lambda c, u, g: {"z": g["z"] * len(c["z"])}),
    "sample-permutation": Planted("affine", lambda c, u, g: {"b": u[:-1].sum(axis=0)}),
    "hidden-permutation": Planted("two_layer", lambda c, u, g: {"b1": np.roll(g["b1"], 1)}),
    "softmax-sums-to-zero": Planted("softmax", lambda c, u, g: {"z": u * softmax(c["z"]) * (1 - softmax(c["z"]))}),
    "softmax-shift": Planted("softmax_cross_entropy", lambda c, u, g: {"z": g["z"] + 1e-3 * c["z"]}),
    "euler-homogeneous": Planted("relu", lambda c, u, g: {"z": g["z"] * 1.0001}),
    "norm-orthogonal": Planted("layer_norm", no_statistics),
    "linear-adjoint": Planted("embedding", overwritten),
    "zero-at-minimum": Planted("mse", lambda c, u, g: {"A": g["A"] + 1e-6 * c["A"]}),
    "loss-scaling": Planted("tanh", upstream_ignored),
    "relu-rescaling": Planted("relu", lambda c, u, g: {"z": u * np.maximum(c["z"], 0)}),
    "path-independence": Planted("tanh", lambda c, u, g: {"z": u * (1 - c["z"] ** 2)}),
    "bias-is-sum-of-deltas": Planted("affine", lambda c, u, g: {"b": u.mean(axis=0)}),
    "rank-of-dw": Planted("affine", lambda c, u, g: {"W": g["W"] + 1e-4 * c["W"]}),
    "composition": Planted("network", lambda c, u, g: {"X": 2 * g["X"]}),
}
