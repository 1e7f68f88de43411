"""An edit of one node's rule; the hypotheses: edits of one line together, then call by call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradverify.tracing.whatif.graph import Network, Node, Post, Pre
from gradverify.types import Array


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One rule replaced at one node.

    cause   the name of the bug
    words   what is replaced, without its place: "the derivative of tanh left out"
    kind    edits of one kind and one line are made together
    node    where; its line is said
    cut     a way is cut: the rest of the gradient is kept, so that other factors than 0 can be tried too
    of      among how many equal calls or uses something is kept or lost: it may be the number of samples
    """

    cause: str
    words: str
    kind: str
    node: Node
    post: Mapping[Node, Post] = field(default_factory=dict)
    pre: Mapping[Node, Pre] = field(default_factory=dict)
    cut: bool = False


@dataclass(frozen=True, kw_only=True)
class Played:
    """A hypothesis and the gradients that it gives. ``together``: how many nodes were changed."""

    cause: str
    words: str
    gradients: Mapping[str, Array]
    cut: bool = False
    together: int = 1
    of: int = 0


Family = Callable[[Network], Iterator[Edit]]


def hypotheses(network: Network, others: Iterable[Played] = ()) -> Iterator[Played]:
    """What the gradients would be with one bug, the most plausible first. Lazy: stop when it has cost enough.

    others  hypotheses of another kind, that come after those that change all calls of a line together
    """
    groups: dict[Any, list[Edit]] = {}
    calls: dict[Any, list[Edit]] = {}
    for family in _families():
        for edit in _those_it_can(family, network):
            if edit.node not in network.users:
                continue  # computed and not used
            inner, full, _ = network.place(edit.node)
            groups.setdefault((inner, edit.kind), []).append(edit)
            calls.setdefault((full, edit.kind), []).append(edit)
    whole = list(groups.values())
    several = [e for e in whole if len(e) > 1]
    yield from _all(network, [(e, "") for e in whole])
    yield from others
    yield from _all(network, [(e, "" if len(e) > 1 else ", in one call") for e in calls.values() if e not in whole])
    for e in several:
        yield from _all(network, [(e[1:], ", in all but the last call")] if e[0].cut else [], of=len(e))
        both = e[0].cut and len(e) > 2
        yield from _all(network, [(e[:-1], ", in all but the first call")] if both else [], of=len(e))
    for e in several:
        yield from _all(network, list(_by_depth(network, e)))
    for e in several:
        yield from _all(network, [([one], f", in call {len(e) - k} of {len(e)}") for k, one in enumerate(e)], of=len(e))


def _those_it_can(family: Family, network: Network) -> Iterator[Edit]:
    """The edits up to the first node that a family did not expect: the other families go on."""
    with suppress(RuntimeError, IndexError, TypeError, ValueError, AttributeError):
        yield from family(network)


def _by_depth(network: Network, edits: Sequence[Edit]) -> Iterator[tuple[Sequence[Edit], str]]:
    """Layer by layer: how many others of the same line lie between a node and the output."""
    own = {e.node: e for e in edits}
    above: dict[Node, int] = {}
    for node in network.nodes:
        seen = [above[u] + (u in own) for u, _ in network.users[node] if u in above]
        above[node] = max(seen, default=0)
    layers: dict[int, list[Edit]] = {}
    for e in edits:
        layers.setdefault(above[e.node], []).append(e)
    if len(layers) < 2:
        return
    yield [e for k, es in layers.items() if k for e in es], ", except where nearest to the output"
    for k, es in sorted(layers.items()):
        if len(es) > 1:
            yield es, f", at step {len(layers) - k} of {len(layers)}"


def _all(network: Network, sets: Sequence[tuple[Sequence[Edit], str]], of: int = 0) -> Iterator[Played]:
    for edits, which in sets:
        gradients = played(network, edits)
        if gradients is None:
            continue
        first = edits[0]
        text = network.place(first.node)[2]
        said = f"{first.words} at {text}" if text else first.words
        every = f", in all {len(edits)} calls" if len(edits) > 1 and not which else which
        yield Played(
            cause=first.cause, words=said + every, gradients=gradients, cut=first.cut, together=len(edits), of=of
        )


def played(network: Network, edits: Sequence[Edit]) -> dict[str, Array] | None:
    """The gradients with these edits; None where an edit has no meaning after all, or changes nothing."""
    post: dict[Node, list[Post]] = {}
    pre: dict[Node, list[Pre]] = {}
    for edit in edits:
        for node, hook in edit.post.items():
            post.setdefault(node, []).append(hook)
        for node, before in edit.pre.items():
            pre.setdefault(node, []).append(before)
    try:
        gradients = network.pull(post, pre)
    except (RuntimeError, IndexError, TypeError, ValueError, AttributeError):
        return None  # shapes that do not fit: nobody wrote this
    if all(np.array_equal(g, network.right[k], equal_nan=True) for k, g in gradients.items()):
        return None
    return gradients


def _families() -> Sequence[Family]:
    from gradverify.tracing.whatif import axes, matrices, moves, paths, products, softmaxes, unary

    return (unary.edits, softmaxes.edits, paths.edits, matrices.edits, products.edits, axes.edits, moves.edits)
