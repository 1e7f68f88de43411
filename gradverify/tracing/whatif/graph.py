"""A recorded graph as nodes and edges, and a backward pass with hooks on some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.sites import KEY, Mark, Site
from gradverify.types import Array

Node = Any  #: torch.autograd.graph.Node
Post = Callable[[list[Any], Sequence[Any]], None]  #: changes the gradients of a node's inputs, in place
Pre = Callable[[list[Any]], None]  #: changes the gradients that arrive at a node, in place
#: functions that only move numbers: a primal seen through them is still that primal
MOVES = (
    "View", "UnsafeView", "Reshape", "Permute", "T", "Transpose", "Select", "Slice", "Expand", "Unsqueeze", "Squeeze",
    "IndexSelect", "Alias", "Clone", "Narrow", "AsStrided", "Mt", "Flip", "ToCopy", "Index",
)  # fmt: skip


class Network:
    """The nodes between ``outs`` and ``leaves``, those nearest to the output first.

    arriving  node -> the gradients that arrive at it in the right backward pass
    users     node -> the edges (user, position) that lead to it, in the order of execution
    """

    def __init__(
        self, leaves: Mapping[str, Tensor], outs: Mapping[str, Tensor], weights: Mapping[str, Tensor],
        marks: Sequence[Mark] = (),
    ) -> None:  # fmt: skip
        self.leaves, self.marks = dict(leaves), list(marks)
        self._outs = [t for t in outs.values() if t.requires_grad]
        self._weights = [weights[k].to(t.dtype) for k, t in outs.items() if t.requires_grad]
        self.nodes = self._walk()
        self.users: dict[Node, list[tuple[Node, int]]] = {n: [] for n in self.nodes}
        for n in reversed(self.nodes):
            for i, (to, _) in enumerate(n.next_functions):
                if to in self.users:
                    self.users[to].append((n, i))
        self._place: dict[Node, tuple[Any, Any, str]] = {}
        self.arriving: dict[Node, list[Any]] = {}
        self.right = self._first()

    def _walk(self) -> list[Node]:
        found: dict[Node, None] = {}
        stack = [t.grad_fn for t in self._outs]
        while stack:
            node = stack.pop()
            if node in found or node.name().endswith("AccumulateGrad"):
                continue
            found[node] = None
            stack.extend(to for to, _ in node.next_functions if to is not None)
        return sorted(found, key=lambda n: -n._sequence_nr())

    def _first(self) -> dict[str, Array]:
        def keep(node: Node) -> Pre:
            return lambda arriving: self.arriving.update({node: list(arriving)})

        return self.pull({}, {n: [keep(n)] for n in self.nodes})

    def pull(self, post: Mapping[Node, Sequence[Post]], pre: Mapping[Node, Sequence[Pre]]) -> dict[str, Array]:
        """The gradients of all leaves with these hooks in place."""
        handles = []
        try:
            for node, hooks in post.items():
                handles += [node.register_hook(_post(h)) for h in hooks]
            for node, first in pre.items():
                handles += [node.register_prehook(_pre(h)) for h in first]
            found = torch.autograd.grad(
                self._outs, list(self.leaves.values()), self._weights, retain_graph=True, allow_unused=True
            )
        finally:
            for handle in handles:
                handle.remove()
        return {
            k: np.zeros(tuple(t.shape)) if g is None else g.detach().cpu().numpy().astype(float)
            for (k, t), g in zip(self.leaves.items(), found, strict=True)
        }

    def live(self, node: Node) -> list[int]:
        """The inputs of a node that depend on the leaves."""
        return [i for i, (to, _) in enumerate(node.next_functions) if to is not None]

    def place(self, node: Node) -> tuple[Any, Any, str]:
        """(the instruction, the instruction and its caller, the line in words); a step inside an operation of the
        user's belongs to that operation.
        """
        found = self._place.get(node)
        if found is None:
            site: Site | None = node.metadata.get(KEY)
            users = self.users.get(node, ())
            if site is not None:
                found = (site.inner, (site.inner, site.outer), site.text)
            elif users:
                by, i = users[0]
                a, b, text = self.place(by)
                found = ((a, i, node.name()), (b, i, node.name()), text)
            else:
                found = (id(node), id(node), "")
            self._place[node] = found
        return found

    def primal(self, node: Node) -> str:
        """The name of the primal that a node only shows (a view, a transpose, a part of it), or nothing."""
        while node is not None:
            if node.name().endswith("AccumulateGrad"):
                return next((k for k, t in self.leaves.items() if t is node.variable), "")
            inputs = self.live(node)
            if len(inputs) != 1 or not node.name().startswith(MOVES):
                return ""
            node = node.next_functions[inputs[0]][0]
        return ""


def _post(hook: Post) -> Callable[[Any, Any], Any]:
    def called(inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        if outputs[0] is None:
            return None
        new = list(inputs)
        hook(new, outputs)
        return tuple(
            a if a is None or b is None else b.expand(a.shape).to(a.dtype) for a, b in zip(inputs, new, strict=True)
        )

    return called


def _pre(hook: Pre) -> Callable[[Any], Any]:
    def called(arriving: Sequence[Any]) -> Any:
        new = list(arriving)
        hook(new)
        return tuple(new)

    return called
