"""Activations written out by hand: 1 / (1 + exp(-z)) is a sigmoid, e / e.sum() a softmax. Nodes of their own."""

from __future__ import annotations

from typing import Any

from gradverify.tracing.array import is_traced
from gradverify.tracing.bend import node, note
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.tape import tape


def origin(x: Any) -> tuple[str, Any]:
    """How the whole of ``x`` was made, through reshapes and new axes."""
    if not is_traced(x) or x.size != x.storage.size:
        return "", None
    x.storage.flat()  # settle what was written
    return tape().origin_of(x.storage.value)


def is_one(t: Tensor) -> bool:
    """The constant 1."""
    return not t.requires_grad and bool((t == 1).all())


def remember(name: str, inputs: tuple[Any, ...], tensors: list[Tensor], y: Any) -> None:
    """Note steps on the way to a known composition."""
    here = tape()
    if name == "negative":
        here.origin(y, "neg", tensors[0])
    elif name == "subtract" and origin(inputs[1])[0] == "max" and tuple(y.shape) == tuple(tensors[0].shape):
        here.origin(y, "shifted", tensors[0])  # the shift for stability, which softmax does not feel
    elif name == "exp":
        kind, z = origin(inputs[0])
        here.origin(y, "exp-", z) if kind == "neg" else here.origin(y, "exp", tensors[0])
    elif name == "add":
        for k in (0, 1):
            kind, z = origin(inputs[k])
            if kind == "exp-" and is_one(tensors[1 - k]):
                here.origin(y, "1+exp-", z)


def remember_sum(e: Tensor, total: Tensor) -> None:
    """``total`` is the sum of ``e`` over some axis."""
    kind, z = tape().origin_of(e)
    if kind == "exp":
        step, unshifted = tape().origin_of(z)
        logits = unshifted if step == "shifted" else z
        tape().origin(total, "sumexp", (e, logits))
        note("sumexp", logits, total, None)


def remember_max(t: Tensor, best: Tensor) -> None:
    """``best`` is the maximum of ``t`` over some axis."""
    tape().origin(best, "max", t)


def composite(name: str, inputs: tuple[Any, ...], tensors: list[Tensor]) -> Tensor | None:
    """The result if this ufunc completes a known composition."""
    if name == "reciprocal" or (name == "divide" and is_one(tensors[0])):
        kind, z = origin(inputs[-1])
        if kind == "1+exp-":
            y = 1 / tensors[-1]
            return node("sigmoid", z, y, torch.sigmoid) if tuple(z.shape) == tuple(y.shape) else None
    if name == "divide":
        kind, found = origin(inputs[1])
        if kind == "sumexp" and found[0] is tensors[0]:
            return node("softmax", found[1], tensors[0] / tensors[1])
    return None
