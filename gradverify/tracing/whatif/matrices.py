"""Matrix products, inverses, solutions: a factor transposed, left out, of the neighbouring layer; one row for all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node
from gradverify.tracing.whatif.rules import Rule, new, same, through, turned

#: node -> (positions of the two factors, names of what is saved of them)
MATRIX = {
    "MmBackward0": ((0, 1), ("_saved_self", "_saved_mat2")),
    "BmmBackward0": ((0, 1), ("_saved_self", "_saved_mat2")),
    "AddmmBackward0": ((1, 2), ("_saved_mat1", "_saved_mat2")),
}


def edits(network: Network) -> Iterator[Edit]:
    """All matrix products of the network, and what is like them."""
    products = [n for n in network.nodes if n.name() in MATRIX]
    for k, node in enumerate(products):
        near = products[max(0, k - 1) : k] + products[k + 1 : k + 2]
        for side in (0, 1):
            other = _factor(network, node, 1 - side)
            if other is not None and network.arriving.get(node, [None])[0] is not None:
                factors = [f for n in near if (f := _factor(network, n, 1 - side)) is not None]
                yield from _product(network, node, side, other, factors)
                yield from _before_activation(network, node, side, other)
    for node in network.nodes:
        name = node.name()
        if name in ("MmBackward0", "MulBackward0") and len(network.live(node)) > 1:
            yield from _both(network, node)
        elif name == "MvBackward0":
            yield from _vector(network, node)
        elif name.startswith("LinalgInvEx"):
            yield new("transposed", "the inverse not transposed", "inv", node, 0, _between(node._saved_inverse))
        elif name.startswith("LinalgSolveEx"):
            yield from _solve(node)


def _factor(network: Network, node: Node, side: int) -> Tensor | None:
    """What is saved of one factor: nothing unless the other one depends on the leaves."""
    places, saved = MATRIX[node.name()]
    return getattr(node, saved[side]) if places[1 - side] in network.live(node) else None


def _product(network: Network, node: Node, side: int, other: Tensor, near: list[Tensor]) -> Iterator[Edit]:
    """One factor of a product: ``other`` is the other one, ``near`` those of the neighbouring products."""
    i, left = MATRIX[node.name()][0][side], side == 0
    name, its = ("left", "right") if left else ("right", "left")
    rule = through(left, other)
    rows, columns = network.arriving[node][0].shape[-2:]
    own = (rows, other.shape[-2]) if left else (other.shape[-1], columns)
    if other.shape[-1] == other.shape[-2]:
        words = f"the {its} factor not transposed"
        yield new("transposed", words, "no-transpose", node, i, through(left, other.mT))
        yield new("missing-term", f"the {its} factor left out", "no-factor", node, i, same)
    if own[0] == own[1]:
        words = f"the gradient of the {name} factor transposed"
        yield new("transposed", words, "result", node, i, turned(rule, before=False))
    if rows == columns:
        yield new("transposed", "what arrives transposed", "arriving", node, i, turned(rule, before=True))
    if not left and other.ndim == 2 and other.shape[0] > 1:
        yield from _one_row(node, i, other)
    for factor in near:
        for words, value in (("", factor), (", transposed", factor.mT)):
            if value.shape == other.shape and not torch.equal(value, other):
                said = f"the {its} factor of the neighbouring product{words}"
                yield new("off-by-one-layer", said, f"neighbour{words}", node, i, through(left, value))


def _before_activation(network: Network, node: Node, side: int, other: Tensor) -> Iterator[Edit]:
    """The argument of an activation where its value should stand: dW = delta.T @ z for delta.T @ a."""
    its = "right" if side == 0 else "left"
    for mark in network.marks:
        fits = mark.x.shape == mark.y.shape == other.shape and not torch.equal(mark.x, mark.y)
        if fits and torch.equal(mark.y.detach(), other):
            words = f"the argument of {mark.name} in place of its value as the {its} factor"
            rule = through(side == 0, mark.x.detach())
            yield new("off-by-one-layer", words, f"argument {mark.name}", node, MATRIX[node.name()][0][side], rule)


def _one_row(node: Node, i: int, a: Tensor) -> Iterator[Edit]:
    """Of the sum over the rows (samples) only one term, alone or for all."""
    n = a.shape[0]
    for words, k in (("first", 0), ("last", n - 1)):
        for how, factor in (("", 1), (", for all", n)):
            rule = _row(a[k], k, factor)
            yield new("dropped-samples", f"the {words} row alone{how}", f"row {words}{how}", node, i, rule)


def _row(row: Tensor, k: int, factor: int) -> Rule:
    return lambda g: factor * (torch.outer(row, g[k]) if g.ndim > 1 else row * g[k])


def _both(network: Network, node: Node) -> Iterator[Edit]:
    """Both factors get what a transposed upstream, or untransposed factors, would give them."""
    g = network.arriving.get(node, [None])[0]
    if g is not None and g.ndim == 2 and g.shape[0] == g.shape[1] > 1:

        def turn(arriving: list[Any]) -> None:
            arriving[0] = arriving[0].mT

        words = "what arrives transposed, for both factors"
        yield Edit(cause="transposed", words=words, kind="turned", node=node, pre={node: turn})
    if node.name() == "MmBackward0":
        a, b = node._saved_self, node._saved_mat2
        if a is not None and b is not None and a.shape == b.shape == a.mT.shape:

            def untransposed(inputs: list[Any], arriving: Any) -> None:
                inputs[0], inputs[1] = arriving[0] @ b, a @ arriving[0]

            words = "both factors not transposed"
            yield Edit(cause="transposed", words=words, kind="no-transpose both", node=node, post={node: untransposed})


def _vector(network: Network, node: Node) -> Iterator[Edit]:
    """A matrix times a vector."""
    live, a, v = network.live(node), node._saved_self, node._saved_vec
    if 1 in live and a.shape[0] > 1:
        yield from _one_row(node, 1, a)
    if 1 in live and a.shape[0] == a.shape[1]:
        yield new("transposed", "the matrix not transposed", "no-transpose", node, 1, lambda g: a @ g)
    if 0 in live and v.shape == network.arriving[node][0].shape:
        yield new("transposed", "the outer product transposed", "result", node, 0, lambda g: torch.outer(v, g))


def _between(m: Tensor) -> Rule:
    return lambda g: -m @ g @ m


def _solve(node: Node) -> Iterator[Edit]:
    a, x = node._saved_A, node._saved_result

    def both(inputs: list[Any], arriving: Any) -> None:
        g = arriving[0]
        new_b = torch.linalg.solve(a, g[..., None])[..., 0] if x.ndim < a.ndim else torch.linalg.solve(a, g)
        if inputs[0] is not None:
            inputs[0] = -(new_b[..., :, None] * x[..., None, :]) if x.ndim < a.ndim else -new_b @ x.mT
        if inputs[1] is not None:
            inputs[1] = new_b

    words = "the system solved with the matrix, not with its transpose"
    yield Edit(cause="transposed", words=words, kind="solve", node=node, post={node: both})
