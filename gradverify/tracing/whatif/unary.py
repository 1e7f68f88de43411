"""Functions entry by entry: the derivative left out, taken elsewhere, taken twice; masks that are other masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from gradverify.tracing.bend import derivative
from gradverify.tracing.escape import Escaped
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node, Pre
from gradverify.tracing.whatif.rules import Rule, chosen, new, same, times, where_positive
from gradverify.tracing.whatif.sites import Mark

#: functions whose derivative, left out, is a term or a factor rather than an activation's
ARITHMETIC = frozenset(["divide", "denominator", "norm", "var", "std", "xlogy", "power", "pow", "square"])
PIECEWISE = frozenset(
    ["maximum", "minimum", "clip", "mask", "relu", "fmax", "fmin", "clamp", "hardtanh", "relu6", "leaky_relu"]
)
#: the derivative written in terms of the function's value
BY_VALUE: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda a: 1 - a * a,
    "sigmoid": lambda a: a * (1 - a),
    "expit": lambda a: a * (1 - a),
}


#: what people write for it, in terms of the function's value
ALMOST: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
    "tanh": {
        "1 - a, without the square": lambda a: 1 - a,
        "a (1 - a), which is that of a sigmoid": lambda a: a * (1 - a),
    },
    "sigmoid": {
        "a alone": lambda a: a, "1 - a alone": lambda a: 1 - a,
        "1 - a^2, which is that of tanh": lambda a: 1 - a * a,
    },
}  # fmt: skip


def edits(network: Network) -> Iterator[Edit]:
    """All marked functions, and np.where."""
    marks = [m for m in network.marks if m.f is not None and m.x.grad_fn is not None and m.y.grad_fn in network.users]
    slopes: list[Tensor | None] = []
    for mark in marks:
        try:
            slopes.append(derivative(mark.f, mark.x) if mark.f is not None else None)
        except RuntimeError:
            slopes.append(None)
    near = neighbours(network, marks)
    for k, (mark, slope) in enumerate(zip(marks, slopes, strict=True)):
        if slope is not None and tuple(mark.x.shape) == tuple(mark.y.shape):
            yield from _of(mark, slope, [(w, slopes[j]) for w, j in near[k]])
        elif tuple(mark.x.shape) != tuple(mark.y.shape):
            shape = tuple(mark.x.shape)
            said = f"the derivative of {mark.name} left out"
            yield _new("missing-activation-derivative", said, "identity", mark, _summed(shape))
    own = {m.y.grad_fn for m in marks}
    for node in network.nodes:
        if node.name() == "SqrtBackward0" and node not in own:
            yield new("missing-term", "the derivative of the root left out", "root", node, 0, same)
    wheres = [n for n in network.nodes if n.name() == "WhereBackward0"]
    for k, node in enumerate(wheres):
        yield from _where(network, node, wheres[max(0, k - 1) : k] + wheres[k + 1 : k + 2])


def neighbours(network: Network, marks: list[Mark]) -> list[list[tuple[str, int]]]:
    """For every mark those of the same name that its value reaches first, and those that reach it."""
    found: list[list[tuple[str, int]]] = [[] for _ in marks]
    for name in {m.name for m in marks}:
        own = {m.y.grad_fn: k for k, m in enumerate(marks) if m.name == name}
        above: dict[Node, int | None] = {}
        for node in network.nodes:
            seen = [own[u] if u in own else above.get(u) for u, _ in network.users[node]]
            above[node] = next((k for k in seen if k is not None), None)
        for node, k in own.items():
            j = above.get(node)
            if j is not None and len(found[k]) < 3:
                found[k].append(("next", j))
                found[j].append(("previous", k))
    return found


def _summed(shape: tuple[int, ...]) -> Rule:
    return lambda g: g.sum_to_size(shape)


def _new(cause: str, words: str, kind: str, mark: Mark, rule: Callable[[Any], Any]) -> Edit:
    """Replace the derivative of ``mark``: what arrives at y goes to x by ``rule`` alone."""
    pre = bypass(mark.x, mark.y, rule)
    return Edit(cause=cause, words=words, kind=f"{kind} {mark.name}", node=mark.y.grad_fn, pre=pre)


def bypass(x: Tensor, y: Tensor, rule: Callable[[Any], Any]) -> dict[Node, Pre]:
    """Hooks that stop what arrives at ``y`` and add ``rule`` of it to what arrives at ``x``."""
    kept: list[Any] = []

    def at_y(arriving: list[Any]) -> None:
        g = arriving[y.output_nr]
        kept.append(g)
        arriving[y.output_nr] = torch.zeros_like(g)

    def at_x(arriving: list[Any]) -> None:
        if kept:
            here = arriving[x.output_nr]
            new = rule(kept.pop()).to(x.dtype)
            arriving[x.output_nr] = new if here is None else here + new

    return {y.grad_fn: at_y, x.grad_fn: at_x}


def _of(mark: Mark, slope: Tensor, near: list[tuple[str, Tensor | None]]) -> Iterator[Edit]:
    """All edits of one function with derivative ``slope``."""
    name, x, y, f = mark.name, mark.x.detach(), mark.y.detach(), mark.f
    assert f is not None  # marks without one are left out by edits
    plain = (
        "missing-term" if name in ARITHMETIC else "wrong-mask" if name == "mask" else "missing-activation-derivative"
    )
    yield _new(plain, f"the derivative of {name} left out", "identity", mark, same)
    elsewhere = "derivative-of-activation-not-preactivation"
    if name != "mask":
        with suppress(RuntimeError, Escaped):
            yield _new(elsewhere, f"the derivative of {name} at its value", "at-value", mark, times(derivative(f, y)))
    if name in BY_VALUE:
        formula = BY_VALUE[name]
        said = f"the derivative of {name} in terms of its value, at"
        yield _new(elsewhere, f"{said} its argument", "formula", mark, times(formula(x)))
        yield _new(elsewhere, f"{said} {name} of its value", "formula2", mark, times(formula(f(y))))
        yield _new(elsewhere, f"{said} what arrives", "formula3", mark, lambda g: g * formula(g))
    for words, almost in ALMOST.get(name, {}).items():
        said = f"the derivative of {name} written as {words}"
        yield _new("missing-activation-derivative", said, words, mark, times(almost(y)))
    yield _new("extra-term", f"the derivative of {name} taken twice", "twice", mark, times(slope, slope))
    for words, other in near:
        if other is not None and other.shape == slope.shape and not torch.equal(other, slope):
            said = f"the derivative of {name} of the {words} layer"
            yield _new("off-by-one-layer", said, f"neighbour {words}", mark, times(other))
    if name in PIECEWISE:
        size = slope.abs().max()
        masks = {"the mask inverted": slope == 0, "its value's sign as the mask": y > 0,
                 "its argument's sign as the mask": x > 0}  # fmt: skip
        for words, mask in masks.items():
            if not torch.equal(mask * size, slope):
                yield _new("wrong-mask", f"{words}, of {name}", words, mark, times(mask, size))
        said = f"the sign of what arrives as the mask, of {name}"
        yield _new("wrong-mask", said, "arriving", mark, where_positive(size))


def _where(network: Network, node: Node, near: list[Node]) -> Iterator[Edit]:
    """np.where: the condition left out, inverted, or of another layer."""
    condition = node._saved_condition
    for i in network.live(node):
        keep = condition if i == 0 else ~condition
        options = [
            ("wrong-mask", "the condition left out", same),
            ("wrong-mask", "the condition inverted", chosen(~keep)),
            ("wrong-mask", "the sign of what arrives as the condition", where_positive()),
        ]
        for other in near:
            c = other._saved_condition
            if c.shape == condition.shape and not torch.equal(c, condition):
                rule = chosen(c if i == 0 else ~c)
                options.append(("off-by-one-layer", "the condition of the neighbouring layer", rule))
        for k, (cause, words, rule) in enumerate(options):
            yield new(cause, words, f"where {k}", node, i, rule)
