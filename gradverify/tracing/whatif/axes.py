"""Sums and broadcasts along another axis, and indices that overwrite each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node

Rule = Callable[[Any], Any]


def edits(network: Network) -> Iterator[Edit]:
    """Broadcast operands, sums, cumulative sums, gathers."""
    for node in network.nodes:
        name = node.name()
        arriving = network.arriving.get(node, [None])[0]
        if arriving is None:
            continue
        if name in ("AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0", "ExpandBackward0"):
            yield from _broadcast(network, node, name, arriving)
        elif name in ("SumBackward1", "MeanBackward1"):
            yield from _sum(node, arriving)
        elif name == "CumsumBackward0":
            axis = _signed(node._saved_dim)
            yield _edit("permuted", "a cumulative sum that is not reversed", "cumsum", node, 0,
                        lambda g, shape, axis=axis: g.cumsum(axis))  # fmt: skip
        elif name in ("IndexSelectBackward0", "IndexBackward0", "EmbeddingBackward0"):
            yield from _gather(node, name)


def _signed(axis: int) -> int:
    return axis - 2**64 if axis >= 2**63 else axis


def _edit(cause: str, words: str, kind: str, node: Node, i: int, rule: Callable[[Any, Any], Any]) -> Edit:
    def hook(inputs: list[Any], arriving: Any) -> None:
        if inputs[i] is not None:
            inputs[i] = rule(arriving[0], tuple(inputs[i].shape))

    return Edit(cause=cause, words=words, kind=f"{kind} {i}", node=node, post={node: hook})


def _local(node: Node, name: str, i: int) -> Rule | None:
    """What arrives -> the gradient of input ``i`` before it is summed to its shape."""
    if name in ("AddBackward0", "ExpandBackward0"):
        return lambda g: g
    if name == "SubBackward0":
        return (lambda g: g) if i == 0 else (lambda g: -g)
    a, b = node._saved_self, node._saved_other
    if name == "MulBackward0":
        factor = b if i == 0 else a
        return None if factor is None else (lambda g: g * factor)
    if i == 0:
        return None if b is None else (lambda g: g / b)
    return None if a is None or b is None else (lambda g: -g * a / b / b)


def _broadcast(network: Network, node: Node, name: str, arriving: Tensor) -> Iterator[Edit]:
    shapes = [tuple(m.shape) for m in (to._input_metadata[k] if to else _Nothing() for to, k in _edges(node))]
    full = tuple(arriving.shape)
    for i in network.live(node):
        own = shapes[i]
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
                yield _edit("wrong-axis", f"the broadcast operand summed over axes {_list(other)} for {_list(axes)}",
                            f"sum{other}", node, i,
                            lambda g, shape, r=rule, other=other: r(g).sum(other).reshape(shape))  # fmt: skip
        for words, index in (("first", 0), ("last", -1)):
            yield _edit("missing-term", f"the {words} entry in place of the sum over axis {_list(axes)}",
                        f"only{index}", node, i,
                        lambda g, shape, r=rule, axes=axes, index=index: _pick(r(g), axes, index).reshape(shape))  # fmt: skip


class _Nothing:
    shape: tuple[int, ...] = ()


def _edges(node: Node) -> Any:
    return node.next_functions


def _pick(t: Tensor, axes: tuple[int, ...], index: int) -> Tensor:
    for k in sorted(axes, reverse=True):
        t = t.select(k, index)
    return t


def _list(axes: tuple[int, ...]) -> str:
    return " and ".join(map(str, axes))


def _sum(node: Node, arriving: Tensor) -> Iterator[Edit]:
    """A sum over one axis, whose gradient is broadcast along another of the same length."""
    shape = tuple(int(n) for n in node._saved_self_sym_sizes)
    dims = node._saved_dim
    if len(dims) != 1:
        return
    axis = _signed(dims[0]) % len(shape)
    n = shape[axis] if node.name().startswith("Mean") else 1
    for other in range(len(shape)):
        if other == axis or shape[other] != shape[axis] or shape[axis] < 2:
            continue

        def rule(g: Any, _: Any, other: int = other) -> Any:
            flat = g.squeeze(axis) if node._saved_keepdim else g
            return flat.unsqueeze(other).expand(shape) / n

        yield _edit("wrong-axis", f"the gradient of the sum over axis {axis} broadcast along axis {other}",
                    f"sum{axis}{other}", node, 0, rule)  # fmt: skip


def _gather(node: Node, name: str) -> Iterator[Edit]:
    """Entries that are read more than once: only the last reader counts (``=`` or fancy ``+=`` for np.add.at)."""
    if name == "IndexSelectBackward0":
        index, axis = node._saved_index, _signed(node._saved_dim)
    elif name == "EmbeddingBackward0":
        index, axis = node._saved_indices.reshape(-1), 0
    else:
        found = [k for k in node._saved_indices if k is not None]
        if len(found) != 1 or found[0].dtype == torch.bool:
            return
        index, axis = found[0].reshape(-1), node._saved_indices.index(found[0]) if len(node._saved_indices) == 1 else 0
    if index.unique().numel() == index.numel():
        return

    def last(g: Any, shape: Any) -> Any:
        values = g.reshape(-1, *shape[1:]) if name != "IndexSelectBackward0" else g
        last_of: dict[int, int] = {int(v): k for k, v in enumerate(index)}
        keys = torch.tensor(list(last_of))
        at = torch.tensor(list(last_of.values()))
        return torch.zeros(shape, dtype=g.dtype).index_copy(axis, keys, values.index_select(axis, at))

    n = int(index.unique().numel())
    if name == "IndexSelectBackward0" and index.numel() % n == 0 and (index.bincount() == index.numel() // n).all():
        k = index.numel() // n
        if torch.equal(index, torch.arange(n).repeat(k)):
            yield _edit("permuted", "a tile summed as if its entries were repeated one by one", "tile", node, 0,
                        lambda g, shape: g.reshape(n, k).sum(1).reshape(shape))  # fmt: skip
        elif torch.equal(index, torch.arange(n).repeat_interleave(k)):
            yield _edit("permuted", "a repetition summed as if it were a tile", "repeat", node, 0,
                        lambda g, shape: g.reshape(k, n).sum(0).reshape(shape))  # fmt: skip
    yield _edit("repeated-indices", "an index that occurs several times keeps its last contribution only", "last",
                node, 0, last)  # fmt: skip
