"""Axes and orders: numbers read in the memory order of another shape; a maximum that every entry gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node
from gradverify.tracing.whatif.rules import ShapedRule, new, new_shaped, same

TRANSPOSES = ("PermuteBackward0", "TransposeBackward0", "TBackward0")
RESHAPES = ("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0")


def edits(network: Network) -> Iterator[Edit]:
    """Transposes, reshapes, gathers along an axis."""
    yield from _upstream(network)
    for node in network.nodes:
        name = node.name()
        g = network.arriving.get(node, [None])[0]
        if g is None or not network.live(node):
            continue
        if name in TRANSPOSES and g.ndim > 1:
            words = "what arrives reshaped where it should be transposed"
            yield new_shaped("permuted", words, "reshape", node, 0, lambda g, shape: g.reshape(shape))
        elif name in RESHAPES:
            yield from _reshape(node, g)
        elif name == "IndexSelectBackward0":
            yield from _rearranged(node)
        elif name == "FlipBackward0":
            yield new("permuted", "the flip left out", "flip", node, 0, same)
        elif name == "RollBackward0":
            yield new("permuted", "the roll left out", "roll", node, 0, same)
        elif name == "GatherBackward0":
            words = "the gradient of the chosen entry"
            yield new_shaped("wrong-mask", f"{words} given to all entries", "all", node, 0, _everywhere(False))
            yield new_shaped("wrong-mask", f"{words} shared by all entries", "share", node, 0, _everywhere(True))


def _rearranged(node: Node) -> Iterator[Edit]:
    """A flip, a roll, a shuffle: every entry goes somewhere else, once. Not undone, or done once more."""
    index = node._saved_index
    if index.numel() != node._saved_self_sym_sizes[0] or index.unique().numel() != index.numel():
        return
    yield new("permuted", "the new order of the entries not undone", "order", node, 0, same)
    words = "the new order of the entries applied again instead of undone"
    yield new("permuted", words, "order again", node, 0, lambda g: g.index_select(0, index))


def _reshape(node: Node, g: Any) -> Iterator[Edit]:
    shape = tuple(int(n) for n in node._saved_self_sym_sizes) if hasattr(node, "_saved_self_sym_sizes") else ()
    if not shape or shape == tuple(g.shape) or max(len(shape), g.ndim) < 2 or not g.ndim:
        return
    yield new_shaped("permuted", "what arrives reshaped in Fortran order", "fortran", node, 0, _fortran)
    if g.ndim > 2:
        for words, a, b in (("last", 1, -1), ("second", -1, 1)):
            said = f"what arrives with its channels moved to the {words} axis"
            yield new_shaped("permuted", said, f"channels {words}", node, 0, _channels(a, b))


def _channels(a: int, b: int) -> ShapedRule:
    return lambda g, shape: g.movedim(a, b).reshape(shape)


def _everywhere(share: bool) -> ShapedRule:
    return lambda g, shape: g.expand(shape) / (shape[-1] if share else 1)


def _fortran(g: Any, shape: tuple[int, ...]) -> Any:
    flat = g.permute(tuple(reversed(range(g.ndim)))).reshape(-1)
    return flat.reshape(tuple(reversed(shape))).permute(tuple(reversed(range(len(shape)))))


def _upstream(network: Network) -> Iterator[Edit]:
    """A square upstream is read transposed."""
    for node in network.nodes[:1]:
        g = network.arriving.get(node, [None])[0]
        if g is not None and not network.users[node] and g.ndim > 1 and g.shape[-1] == g.shape[-2] > 1:

            def turned(arriving: list[Any]) -> None:
                arriving[0] = arriving[0].mT

            words = "the upstream transposed"
            yield Edit(cause="transposed", words=words, kind="upstream", node=node, pre={node: turned})
