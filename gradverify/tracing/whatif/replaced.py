"""A primal enters the backward of its products as something else: transposed, flipped, or the neighbour's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations

import numpy as np

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit, Played, played
from gradverify.tracing.whatif.graph import Network, Node
from gradverify.tracing.whatif.rules import Rule, post, through, times
from gradverify.types import Array

SECONDS = 0.8  #: of this thread, for all the recordings
Retrace = Callable[[Mapping[str, Array]], Network]  #: the same forward recorded with some primals replaced

#: node -> what is saved of its factors, by position of the other one
SAVED = {
    "MmBackward0": {0: "_saved_mat2", 1: "_saved_self"}, "BmmBackward0": {0: "_saved_mat2", 1: "_saved_self"},
    "AddmmBackward0": {1: "_saved_mat2", 2: "_saved_mat1"}, "MulBackward0": {0: "_saved_other", 1: "_saved_self"},
    "MvBackward0": {0: "_saved_vec", 1: "_saved_self"}, "DotBackward0": {0: "_saved_tensor", 1: "_saved_self"},
}  # fmt: skip


def replacements(network: Network, retrace: Retrace) -> Iterator[Played]:
    """For every primal and every other value of its shape: the products' other factors get that instead."""
    values = {k: t.detach().cpu().numpy().astype(float) for k, t in network.leaves.items()}
    used = {k for n in network.nodes if n.name() in SAVED for to, _ in n.next_functions if (k := network.primal(to))}
    end = time.thread_time() + SECONDS
    for name in sorted(used):
        for cause, words, value in _others(name, values):
            if time.thread_time() > end:
                return
            try:
                other = retrace({name: value})
            except Exception:  # noqa: BLE001  the user's forward may refuse any other value: no evidence
                continue
            if [n.name() for n in other.nodes] != [n.name() for n in network.nodes]:
                continue
            edits = [e for n, m in zip(network.nodes, other.nodes, strict=True) for e in _edits(network, n, m, name)]
            gradients = played(network, edits) if edits else None
            if gradients is not None:
                yield Played(cause=cause, words=f"{words} in the products of backward", gradients=gradients,
                             together=len(edits))  # fmt: skip


def _others(name: str, values: Mapping[str, Array]) -> Iterator[tuple[str, str, Array]]:
    value = values[name]
    for a, b in combinations(range(value.ndim), 2):
        if value.shape[a] == value.shape[b] > 1:
            yield "transposed", f"{name} with axes {a} and {b} exchanged", np.swapaxes(value, a, b).copy()
    n = value.ndim
    for axes in ((n - 1,), (n - 2, n - 1)) if n > 1 else ((0,),) if n else ():
        if any(value.shape[k] > 1 for k in axes):
            yield "permuted", f"{name} flipped along axis {' and '.join(map(str, axes))}", np.flip(value, axes).copy()
    same = [k for k, v in values.items() if v.shape == value.shape]
    place = same.index(name)
    for other in same[max(0, place - 2) : place + 3]:
        its = values[other]
        if other != name and its.shape == value.shape and value.size > 1:
            yield "off-by-one-layer", f"{other} in place of {name}", its
            if value.ndim == 2 and value.shape[0] == value.shape[1]:
                yield "off-by-one-layer", f"{other}, transposed, in place of {name}", its.T.copy()


def _edits(network: Network, node: Node, twin: Node, name: str) -> Iterator[Edit]:
    """``node`` takes the factor that shows ``name`` from ``twin``, the same node of the other recording."""
    saved = SAVED.get(node.name())
    if saved is None:
        return
    for i, attribute in saved.items():
        (j,) = [k for k in saved if k != i]
        if i in network.live(node) and network.primal(node.next_functions[j][0]) == name:
            factor = getattr(twin, attribute)
            if factor is not None:
                rule = _rule(node.name(), i == min(saved), factor)
                yield Edit(cause="", words="", kind="", node=node, post={node: post(i, rule)})


def _rule(kind: str, left: bool, factor: Tensor) -> Rule:
    if kind in ("MulBackward0", "DotBackward0"):
        return times(factor)
    if kind == "MvBackward0":
        return (lambda g: torch.outer(g, factor)) if left else (lambda g: factor.mT @ g)
    return through(left, factor)
