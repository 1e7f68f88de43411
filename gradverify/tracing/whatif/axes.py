"""Sums and broadcasts along another axis, and indices that overwrite each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node
from gradverify.tracing.whatif.rules import Rule, ShapedRule, new_shaped, same, times

ARITHMETIC = ("AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0", "ExpandBackward0")
GATHERS = ("IndexSelectBackward0", "IndexBackward0", "EmbeddingBackward0")


def edits(network: Network) -> Iterator[Edit]:
    """Broadcast operands, sums, cumulative sums, gathers."""
    for node in network.nodes:
        name = node.name()
        arriving = network.arriving.get(node, [None])[0]
        if arriving is None:
            continue
        if name in ARITHMETIC:
            yield from _broadcast(network, node, name, arriving)
        elif name in ("SumBackward1", "MeanBackward1"):
            yield from _sum(node)
        elif name == "CumsumBackward0":
            words = "a cumulative sum that is not reversed"
            yield new_shaped("permuted", words, "cumsum", node, 0, _cumulative(signed(node._saved_dim)))
        elif name in GATHERS:
            yield from _gather(node, name)


def signed(axis: int) -> int:
    """Torch saves -1 as an unsigned number."""
    return axis - 2**64 if axis >= 2**63 else axis


def _cumulative(axis: int) -> ShapedRule:
    return lambda g, _: g.cumsum(axis)


def _local(node: Node, name: str, i: int) -> Rule | None:
    """What arrives -> the gradient of input ``i`` before it is summed to its shape."""
    if name in ("AddBackward0", "ExpandBackward0"):
        return same
    if name == "SubBackward0":
        return times(1.0 if i == 0 else -1.0)
    a, b = node._saved_self, node._saved_other
    if name == "MulBackward0":
        factor = b if i == 0 else a
        return None if factor is None else times(factor)
    if i == 0:
        return None if b is None else times(1 / b)
    return None if a is None or b is None else times(-a, 1 / b, 1 / b)


def _broadcast(network: Network, node: Node, name: str, arriving: Tensor) -> Iterator[Edit]:
    full = tuple(arriving.shape)
    for i in network.live(node):
        to, k = node.next_functions[i]
        own = tuple(to._input_metadata[k].shape)
        rule = _local(node, name, i)
        if own == full or rule is None or not full:
            continue
        padded = (1,) * (len(full) - len(own)) + own
        axes = tuple(k for k, (a, b) in enumerate(zip(padded, full, strict=True)) if a != b)
        if not axes:
            continue
        kept = [full[k] for k in range(len(full)) if k not in axes]
        for other in combinations(range(len(full)), len(axes)):
            if other != axes and [full[k] for k in range(len(full)) if k not in other] == kept:
                words = f"the broadcast operand summed over axis {_list(other)} for {_list(axes)}"
                yield new_shaped("wrong-axis", words, f"sum{other}", node, i, _summed(rule, other))
        for which, index in (("first", 0), ("last", -1)):
            words = f"the {which} entry in place of the sum over axis {_list(axes)}"
            cause = "dropped-samples" if 0 in axes else "missing-term"
            yield new_shaped(cause, words, f"only{index}", node, i, _picked(rule, axes, index))


def _summed(rule: Rule, axes: tuple[int, ...]) -> ShapedRule:
    return lambda g, shape: rule(g).sum(axes).reshape(shape)


def _picked(rule: Rule, axes: tuple[int, ...], index: int) -> ShapedRule:
    def picked(g: Any, shape: tuple[int, ...]) -> Any:
        t = rule(g)
        for k in sorted(axes, reverse=True):
            t = t.select(k, index)
        # one entry that is zero is no entry at all: then the way as a whole is missing
        return t.reshape(shape) if t.any() else torch.full(shape, torch.nan, dtype=t.dtype, device=t.device)

    return picked


def _list(axes: tuple[int, ...]) -> str:
    return " and ".join(map(str, axes))


def _sum(node: Node) -> Iterator[Edit]:
    """A sum over one axis, whose gradient is broadcast along another of the same length."""
    shape = tuple(int(n) for n in node._saved_self_sym_sizes)
    dims = node._saved_dim
    if len(dims) != 1:
        return
    axis = signed(dims[0]) % len(shape)
    n = shape[axis] if node.name().startswith("Mean") else 1
    for other in range(len(shape)):
        if other == axis or shape[other] != shape[axis] or shape[axis] < 2:
            continue
        words = f"the gradient of the sum over axis {axis} broadcast along axis {other}"
        rule = _spread(axis if node._saved_keepdim else None, other, n)
        yield new_shaped("wrong-axis", words, f"sum{axis}{other}", node, 0, rule)


def _spread(kept: int | None, other: int, n: int) -> ShapedRule:
    def spread(g: Any, shape: tuple[int, ...]) -> Any:
        flat = g if kept is None else g.squeeze(kept)
        return flat.unsqueeze(other).expand(shape) / n

    return spread


def _gather(node: Node, name: str) -> Iterator[Edit]:
    """Entries that are read more than once: only the last reader counts (``=`` or fancy ``+=`` for np.add.at)."""
    if name == "IndexSelectBackward0":
        index, axis = node._saved_index, signed(node._saved_dim)
    elif name == "EmbeddingBackward0":
        index, axis = node._saved_indices.reshape(-1), 0
    else:
        indices = node._saved_indices
        if len(indices) != 1 or indices[0] is None or indices[0].dtype == torch.bool:
            return
        index, axis = indices[0].reshape(-1), 0
    if index.unique().numel() == index.numel():
        return
    last_of: dict[int, int] = {int(v): k for k, v in enumerate(index)}
    keys, at = torch.tensor(list(last_of)), torch.tensor(list(last_of.values()))

    def last(g: Any, shape: tuple[int, ...]) -> Any:
        values = g if name == "IndexSelectBackward0" else g.reshape(-1, *shape[1:])
        return torch.zeros(shape, dtype=g.dtype).index_copy(axis, keys, values.index_select(axis, at))

    words = "an index that occurs several times keeps its last contribution only"
    yield new_shaped("repeated-indices", words, "last", node, 0, last)
