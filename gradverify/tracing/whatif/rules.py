"""Rules of a backward pass: what arrives at a node -> what one of its inputs gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Node, Post

Rule: TypeAlias = Callable[[Any], Any]
ShapedRule: TypeAlias = Callable[[Any, tuple[int, ...]], Any]  #: given the shape of the input too


def same(g: Any) -> Any:
    """The local derivative left out."""
    return g


def times(*factors: Any) -> Rule:
    """Multiplied by all of them."""

    def rule(g: Any) -> Any:
        for f in factors:
            g = g * f
        return g

    return rule


def where_positive(factor: Any = 1.0) -> Rule:
    """The sign of what arrives as the mask."""
    return lambda g: g * factor * (g > 0)


def chosen(mask: Tensor) -> Rule:
    """What arrives where ``mask`` holds, else 0."""
    return lambda g: torch.where(mask, g, 0.0)


def through(left: bool, other: Tensor) -> Rule:
    """The left or the right factor of a matrix product with ``other`` as the other one."""
    return (lambda g: g @ other.mT) if left else (lambda g: other.mT @ g)


def turned(rule: Rule, *, before: bool) -> Rule:
    """What arrives (``before``), or what comes out, transposed."""
    return (lambda g: rule(g.mT)) if before else (lambda g: rule(g).mT)


def post(i: int, rule: Rule) -> Post:
    """Input ``i`` gets what ``rule`` says, summed to its shape."""
    return shaped(i, lambda g, shape: rule(g).sum_to_size(shape))


def shaped(i: int, rule: ShapedRule) -> Post:
    """Input ``i`` gets what ``rule`` says."""

    def hook(inputs: list[Any], arriving: Any) -> None:
        if inputs[i] is not None:
            inputs[i] = rule(arriving[0], tuple(inputs[i].shape))

    return hook


def new(cause: str, words: str, kind: str, node: Node, i: int, rule: Rule) -> Edit:
    """Input ``i`` of ``node`` gets what ``rule`` says."""
    return Edit(cause=cause, words=words, kind=f"{kind} {i}", node=node, post={node: post(i, rule)})


def new_shaped(cause: str, words: str, kind: str, node: Node, i: int, rule: ShapedRule) -> Edit:
    """The same for a rule that knows the shape of the input."""
    return Edit(cause=cause, words=words, kind=f"{kind} {i}", node=node, post={node: shaped(i, rule)})
