"""Ops that end in a softmax over classes: which gradients lie along the classes, and on which axis."""

from __future__ import annotations

from gradverify.invariants._layers import depth, is_network, loss
from gradverify.types import Case

OPS = ("softmax", "log_softmax", "softmax_cross_entropy", "softmax_cross_entropy_two_step", "network")


def classes(case: Case) -> dict[str, int]:
    """Primals to which a constant can be added over the classes -> the axis of the classes; empty for other ops."""
    if case.op in ("softmax", "log_softmax"):
        return {"z": int(case.constants.get("axis", -1))}
    if case.op in ("softmax_cross_entropy", "softmax_cross_entropy_two_step"):
        return {"z": -1}
    if is_network(case) and loss(case) == "softmax_cross_entropy":
        return {f"W{depth(case)}": 0, f"b{depth(case)}": 0}
    return {}


def applies(case: Case) -> bool:
    """A softmax over two classes or more."""
    return any(case.primals[k].shape[axis] >= 2 for k, axis in classes(case).items())
