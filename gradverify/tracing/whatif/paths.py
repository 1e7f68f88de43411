"""A way of the gradient is cut, where the gradient comes by several ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradverify.tracing.lazy import torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node, Post

MANY = 6  #: of a node with more inputs (np.stack, np.concatenate) only the first and the last are cut
WHAT = {
    ("Div", 0): "the numerator", ("Div", 1): "the denominator", ("Sub", 1): "what is subtracted",
    ("Mul", 0): "the first factor", ("Mul", 1): "the second factor", ("Pow", 1): "the exponent",
    ("Where", 0): "the branch where the condition holds", ("Where", 1): "the branch where the condition does not hold",
    ("Mm", 0): "the left factor", ("Mm", 1): "the right factor", ("Bmm", 0): "the left factor",
    ("Bmm", 1): "the right factor", ("Mean", 0): "the mean", ("Sum", 0): "the sum", ("Max", 0): "the maximum",
    ("Amax", 0): "the maximum", ("Sqrt", 0): "the root", ("Prod", 0): "the product",
}  # fmt: skip


def edits(network: Network) -> Iterator[Edit]:
    """Every edge that is not the only way: one input of several, or one use of several."""
    yield from _alone(network)
    yield from _overwritten(network)
    for node in network.nodes:
        inputs = network.live(node)
        first = node.next_functions[inputs[0]] if inputs else None
        if (len(inputs) == 2 and first == node.next_functions[inputs[1]]) or _squares(network, node, inputs):
            yield Edit(
                cause="missing-term", words=_words(network, node, 0).replace("the first factor", "the square"),
                kind=f"cut both {node.name()}", node=node, post={node: _zero(0, 1)}, cut=True,
            )  # fmt: skip
            continue
        some = inputs if len(inputs) <= MANY else [inputs[0], inputs[-1]]
        for i in some:
            to = node.next_functions[i][0]
            if len(inputs) > 1 or len(network.users.get(to, ())) > 1:
                yield Edit(
                    cause="missing-term", words=_words(network, node, i), kind=f"cut {i} {node.name()}", node=node,
                    post={node: _zero(i)}, cut=True,
                )  # fmt: skip


def _alone(network: Network) -> Iterator[Edit]:
    """Of three or more uses of one value only one counts, or one is lost."""
    for node in network.nodes:
        users = network.users[node]
        if not 2 < len(users) <= 3 * MANY:
            continue
        name = network.primal(node)
        for k in sorted({0, 1, len(users) - 2, len(users) - 1}):
            post: dict[Node, list[int]] = {}
            for j, (user, i) in enumerate(users):
                if j != k:
                    post.setdefault(user, []).append(i)
            yield Edit(
                cause="missing-term", words=f"only use {k + 1} of {len(users)} of {name or 'a value made'} counted",
                kind=f"alone {k}", node=node, post={u: _zero(*places) for u, places in post.items()},
            )  # fmt: skip


def _overwritten(network: Network) -> Iterator[Edit]:
    """Parts of one value are used several times, and a later (or an earlier) use overwrites the others: = for +=."""
    for node in network.nodes:
        users = network.users[node]
        if len(users) < 3 or len({u for u, _ in users}) < len(users):
            continue
        name = network.primal(node)
        for which, order in (("last", users), ("first", users[::-1])):
            yield Edit(
                cause="missing-term",
                words=f"every entry of {name or 'a value made'} keeps the contribution of its {which} use only",
                kind=f"overwritten {which}", node=node, **_overwriting(node, order),
            )  # fmt: skip


def _overwriting(node: Node, order: list[tuple[Node, int]]) -> dict[str, Any]:
    kept: dict[Node, Any] = {}

    def keeping(user: Node, i: int) -> Post:
        def hook(inputs: list[Any], _: object) -> None:
            if inputs[i] is not None:
                kept[user] = inputs[i]
                inputs[i] = torch.zeros_like(inputs[i])

        return hook

    def joined(arriving: list[Any]) -> None:
        total = torch.zeros_like(arriving[0])
        for user, _ in order:
            if user in kept:
                new = kept.pop(user).expand(total.shape)
                total = torch.where(new != 0, new, total)
        arriving[0] = total

    return {"post": {user: keeping(user, i) for user, i in order}, "pre": {node: joined}}


def _squares(network: Network, node: Node, inputs: list[int]) -> bool:
    """X * x: both factors are the same primal, read twice."""
    if node.name() != "MulBackward0" or inputs != [0, 1]:
        return False
    names = {network.primal(to) for to, _ in node.next_functions}
    a, b = node._saved_self, node._saved_other
    return len(names) == 1 and "" not in names and a.shape == b.shape and torch.equal(a, b)


def _zero(*places: int) -> Post:
    def hook(inputs: list[Any], _: object) -> None:
        for i in places:
            if inputs[i] is not None:
                inputs[i] = torch.zeros_like(inputs[i])

    return hook


def _words(network: Network, node: Node, i: int) -> str:
    primal = network.primal(node.next_functions[i][0])
    name = node.name().partition("Backward")[0]
    what = WHAT.get((name, i)) or f"{name.lower()}"
    return f"the way to {primal} through {what}" if primal else f"the way through {what}"
