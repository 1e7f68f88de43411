"""Axes and orders: numbers read in the memory order of another shape; a maximum that every entry gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gradverify.tracing.lazy import Tensor
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node


def edits(network: Network) -> Iterator[Edit]:
    """Transposes, reshapes, gathers along an axis."""
    yield from _upstream(network)
    for node in network.nodes:
        name = node.name()
        g = network.arriving.get(node, [None])[0]
        if g is None or not network.live(node):
            continue
        if name in ("PermuteBackward0", "TransposeBackward0", "TBackward0") and g.ndim > 1:
            yield _edit("permuted", "what arrives reshaped where it should be transposed", "reshape", node,
                        lambda g, shape: g.reshape(shape))  # fmt: skip
        elif name in ("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0"):
            shape = tuple(int(n) for n in node._saved_self_sym_sizes) if hasattr(node, "_saved_self_sym_sizes") else ()
            if shape and shape != tuple(g.shape) and max(len(shape), g.ndim) > 1 and min(len(shape), g.ndim) > 0:
                yield _edit("permuted", "what arrives reshaped in Fortran order", "fortran", node, _fortran)
                if g.ndim > 2:
                    for words, a, b in (("last", 1, -1), ("second", -1, 1)):
                        yield _edit("permuted", f"what arrives with its channels moved to the {words} axis",
                                    f"channels {words}", node,
                                    lambda g, shape, a=a, b=b: g.movedim(a, b).reshape(shape))  # fmt: skip
        elif name == "GatherBackward0":
            yield _edit("wrong-mask", "the gradient of the chosen entry given to all entries", "all", node,
                        lambda g, shape: g.expand(shape))  # fmt: skip
            yield _edit("wrong-mask", "the gradient of the chosen entry shared by all entries", "share", node,
                        lambda g, shape: g.expand(shape) / max(1, shape[-1]))  # fmt: skip


def _upstream(network: Network) -> Iterator[Edit]:
    """A square upstream is read transposed."""
    for node in network.nodes[:1]:
        g = network.arriving.get(node, [None])[0]
        if g is not None and not network.users[node] and g.ndim > 1 and g.shape[-1] == g.shape[-2] > 1:

            def turned(arriving: list[Any]) -> None:
                arriving[0] = arriving[0].mT

            yield Edit(cause="transposed", words="the upstream transposed", kind="upstream", node=node,
                       pre={node: turned})  # fmt: skip


def _fortran(g: Tensor, shape: tuple[int, ...]) -> Tensor:
    flat = g.permute(tuple(reversed(range(g.ndim)))).reshape(-1)
    return flat.reshape(tuple(reversed(shape))).permute(tuple(reversed(range(len(shape)))))


def _edit(cause: str, words: str, kind: str, node: Node, rule: Callable[[Any, Any], Any]) -> Edit:
    def hook(inputs: list[Any], arriving: Any) -> None:
        if inputs[0] is not None:
            inputs[0] = rule(arriving[0], tuple(inputs[0].shape))

    return Edit(cause=cause, words=words, kind=kind, node=node, post={node: hook})
