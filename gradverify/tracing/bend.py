"""Counterfactual backprop: the forward's value unchanged, the local derivative at one node replaced.

``value.detach() + (x - x.detach()) * slope`` has the value of the node and any slope that we like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradverify.tracing.array import leave
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.tape import active, tape
from gradverify.tracing.whatif.sites import Mark

KINDS = {
    "identity": "local derivative 1: the derivative of an activation was forgotten",
    "zero": "no gradient: the node was treated as a constant",
    "at-output": "the derivative f' was evaluated at f(x) instead of at x",
    "negated": "the local derivative has the wrong sign",
}


def derivative(f: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """f'(at) entrywise, for an elementwise ``f``."""
    x = at.detach().clone().requires_grad_()
    return torch.autograd.grad(f(x).sum(), x)[0]


def bent(kind: str, x: Tensor, y: Tensor, f: Callable[[Tensor], Tensor] | None) -> Tensor:
    """``y = f(x)`` with its local derivative replaced. ``f`` is None where the node is not elementwise.

    Raises Escaped where the kind has no meaning at this node.
    """
    value = y.detach()
    if kind == "zero":
        return value
    if kind == "negated":
        return 2 * value - y
    wide = x - x.detach()
    try:
        wide = wide.expand(torch.broadcast_shapes(x.shape, y.shape))
    except RuntimeError:
        wide = None
    if wide is None or tuple(wide.shape) != tuple(y.shape):
        return leave(f"bending {kind!r} has no meaning at a node that changes the shape")
    if kind == "identity":
        return value + wide
    if kind == "at-output" and f is not None:
        return value + wide * derivative(f, value)
    return leave(f"bending {kind!r} has no meaning here; the kinds are {', '.join(KINDS)}")


def note(name: str, x: Tensor, y: Tensor, f: Callable[[Tensor], Tensor] | None) -> None:
    """Remember ``y = f(x)`` for the hypotheses about backward, where they are wanted."""
    here = tape()
    if here.marks is None or y.grad_fn is None:
        return

    def again(at: Tensor) -> Tensor:
        with active(here):  # the convention at ties is the tape's
            return f(at) if f is not None else leave(f"{name} is not a function entry by entry")

    here.marks.append(Mark(name, x, y, None if f is None else again))


def node(name: str, x: Tensor, y: Tensor, f: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Register ``y = f(x)`` as a node; ``y``, or its bent twin if it is the node to bend."""
    if not x.requires_grad:
        return y
    note(name, x, y, f)
    kind = tape().node(name)
    return y if kind is None else bent(kind, x, y, f)


def node_of_one(name: str, f: Callable[..., Any], args: list[Tensor], k: int, y: Tensor) -> Tensor:
    """The same for argument ``k`` of several: what flows through the others stays as it is."""
    kind = tape().node(name)
    still = [a if a is None else a.detach() for a in args]

    def of_one(x: Tensor) -> Tensor:
        return f(*still[:k], x, *still[k + 1 :])

    if sum(a is not None and a.requires_grad for a in args) == 1:
        note(name, args[k], y, of_one)
    if kind is None:
        return y
    through = bent(kind, args[k], of_one(args[k]), of_one)
    if not any(a.requires_grad for i, a in enumerate(args) if i != k):
        return through
    rest = f(*args[:k], still[k], *args[k + 1 :])
    return rest + (through - through.detach())
