"""Functions entry by entry: the derivative left out, taken elsewhere, taken twice; masks that are other masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gradverify.tracing.bend import derivative
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node, Pre
from gradverify.tracing.whatif.sites import Mark

#: functions whose derivative, left out, is a term or a factor rather than an activation's
ARITHMETIC = frozenset(
    "divide denominator norm var std xlogy".split()
)
PIECEWISE = frozenset("maximum minimum clip mask relu fmax fmin clamp hardtanh relu6 leaky_relu".split())
#: the derivative written in terms of the function's value
BY_VALUE: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda a: 1 - a * a,
    "sigmoid": lambda a: a * (1 - a),
    "expit": lambda a: a * (1 - a),
}


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
            yield _new("missing-activation-derivative", f"the derivative of {mark.name} left out", "identity", mark,
                       lambda g, x=mark.x: g.sum_to_size(tuple(x.shape)))  # fmt: skip
    own = {m.y.grad_fn for m in marks}
    for node in network.nodes:
        if node.name() == "SqrtBackward0" and node not in own:
            yield Edit(cause="missing-term", words="the derivative of the root left out", kind="root", node=node,
                       post={node: _input(0, lambda g: g)})  # fmt: skip
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
    name, x, y, f = mark.name, mark.x.detach(), mark.y.detach(), mark.f
    plain = "missing-term" if name in ARITHMETIC else "missing-activation-derivative"
    if name == "mask":
        plain = "wrong-mask"
    yield _new(plain, f"the derivative of {name} left out", "identity", mark, lambda g: g)
    assert f is not None  # marks without one are left out by edits
    elsewhere = "derivative-of-activation-not-preactivation"
    if name != "mask":
        try:
            at_value = derivative(f, y)
            yield _new(elsewhere, f"the derivative of {name} at its value", "at-value", mark, lambda g: g * at_value)
        except RuntimeError:
            pass
    if name in BY_VALUE:
        formula = BY_VALUE[name]
        yield _new(elsewhere, f"the derivative of {name} in terms of its value, at its argument", "formula", mark,
                   lambda g: g * formula(x))  # fmt: skip
        yield _new(elsewhere, f"the derivative of {name} in terms of its value, at {name} of its value", "formula2",
                   mark, lambda g: g * formula(f(y)))  # fmt: skip
        yield _new(elsewhere, f"the derivative of {name} in terms of its value, at what arrives", "formula3", mark,
                   lambda g: g * formula(g))  # fmt: skip
    yield _new("extra-term", f"the derivative of {name} taken twice", "twice", mark, lambda g: g * slope * slope)
    for words, other in near:
        if other is not None and other.shape == slope.shape and not torch.equal(other, slope):
            yield _new("off-by-one-layer", f"the derivative of {name} of the {words} layer",
                       f"neighbour {words}", mark, lambda g, other=other: g * other)  # fmt: skip
    if name in PIECEWISE:
        size = slope.abs().max()
        for words, mask in (("the mask inverted", slope == 0), ("the value's sign as the mask", y > 0),
                            ("the argument's sign as the mask", x > 0)):  # fmt: skip
            if not torch.equal(mask * size, slope):
                yield _new("wrong-mask", f"{words}, of {name}", words, mark, lambda g, m=mask: g * m * size)
        yield _new("wrong-mask", f"the sign of what arrives as the mask, of {name}", "arriving", mark,
                   lambda g: g * (g > 0) * size)  # fmt: skip


def _where(network: Network, node: Node, neighbours: list[Node]) -> Iterator[Edit]:
    condition = node._saved_condition
    for i in network.live(node):
        keep = condition if i == 1 else ~condition
        options: list[tuple[str, str, Callable[[Any], Any]]] = [
            ("wrong-mask", "the condition left out", lambda g: g),
            ("wrong-mask", "the condition inverted", lambda g, k=keep: torch.where(k, 0.0, g)),
            ("wrong-mask", "the sign of what arrives as the condition", lambda g: torch.where(g > 0, g, 0.0)),
        ]
        for other in neighbours:
            c = other._saved_condition
            if c.shape == condition.shape and not torch.equal(c, condition):
                options.append(("off-by-one-layer", "the condition of the neighbouring layer",
                                lambda g, c=(c if i == 1 else ~c): torch.where(c, g, 0.0)))  # fmt: skip
        for k, (cause, words, rule) in enumerate(options):
            yield Edit(cause=cause, words=words, kind=f"where {words} {k} {i}", node=node, post={node: _input(i, rule)})


def _input(i: int, rule: Callable[[Any], Any]) -> Callable[[list[Any], Any], None]:
    def hook(inputs: list[Any], arriving: Any) -> None:
        if inputs[i] is not None:
            inputs[i] = rule(arriving[0]).sum_to_size(tuple(inputs[i].shape))

    return hook
