"""Products and quotients entry by entry: a factor left out, applied twice, moved; masks that are left out."""

from __future__ import annotations

from collections.abc import Iterator

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node
from gradverify.tracing.whatif.rules import new, same, times, where_positive


def edits(network: Network) -> Iterator[Edit]:
    """All products entry by entry."""
    for node in network.nodes:
        name = node.name()
        if name.startswith(("Tril", "Triu")):
            yield new("wrong-mask", f"the mask of {name[:4].lower()} left out", "mask-out", node, 0, same)
        elif name == "MulBackward0":
            yield from _times(network, node)
        elif name == "DivBackward0":
            yield from _over(network, node)


def is_scaled_mask(t: Tensor) -> bool:
    """A constant of zeros and one other number, as of inverted dropout."""
    if t.requires_grad or t.ndim == 0 or not bool((t == 0).any()):
        return False
    rest = t[t != 0]
    return rest.numel() > 0 and bool((rest == rest[0]).all())


def _times(network: Network, node: Node) -> Iterator[Edit]:
    live = network.live(node)
    for i in live:
        other = node._saved_other if i == 0 else node._saved_self
        own = node._saved_self if i == 0 else node._saved_other
        if other is None:
            continue
        if is_scaled_mask(other):
            yield from _masked(node, i, other.to(torch.float64))
        else:
            plain = "scale" if other.numel() == 1 else "missing-term"
            yield new(plain, f"{_name(other)} left out", "factor-out", node, i, same)
            yield new("extra-term", "the other factor applied twice", "factor-twice", node, i, times(other, other))
        if own is not None and len(live) > 1:
            if own.shape == other.shape:
                words = "the factor itself for the other one"
                yield new("missing-term", words, "factor-own", node, i, times(own))
            elif own.ndim == other.ndim == 2 and own.shape == other.mT.shape:
                words = "the factor itself, transposed, for the other one"
                yield new("transposed", words, "factor-own-t", node, i, times(own.mT))
        if other.ndim > 1:
            yield from _moved(node, i, other)


def _masked(node: Node, i: int, mask: Tensor) -> Iterator[Edit]:
    """The other factor is a mask, of zeros and one other number."""
    on = float(mask[mask != 0].flatten()[0])
    yield new("wrong-mask", "the mask left out", "mask-out", node, i, same)
    yield new("wrong-mask", "the complement of the mask", "mask-not", node, i, times(on - mask))
    if on != 1:
        yield new("wrong-mask", "the mask left out, its factor kept", "mask-one", node, i, times(on))
        yield new("missing-term", "the factor of the mask left out", "mask-factor", node, i, times(mask / on))
        words = "the complement of the mask without its factor"
        yield new("wrong-mask", words, "mask-not-one", node, i, times(mask == 0))
    yield new("wrong-mask", "the sign of what arrives as the mask", "mask-up", node, i, where_positive(on))


def _name(t: Tensor) -> str:
    return f"the factor {float(t):.6g}" if t.numel() == 1 else "the other factor"


def _moved(node: Node, i: int, other: Tensor) -> Iterator[Edit]:
    n = other.ndim
    if other.numel() > 1:
        flipped = other.flip(tuple(range(n - 2, n)))
        yield new("permuted", "the other factor flipped", "flipped", node, i, times(flipped))
    for a, b in {(0, 1), (n - 2, n - 1)}:
        if other.shape[a] == other.shape[b] > 1:
            moved = other.transpose(a, b)
            yield new("transposed", "the other factor transposed", f"other-t{a}", node, i, times(moved))


def _over(network: Network, node: Node) -> Iterator[Edit]:
    live, a, b = network.live(node), node._saved_self, node._saved_other
    if 0 in live and b is not None:
        one = b.numel() == 1
        words = f"the division{f' by {float(b):.6g}' if one else ''} left out"
        yield new("scale" if one else "missing-term", words, "factor-out", node, 0, same)
        yield new("extra-term", "the division made twice", "factor-twice", node, 0, times(1 / b, 1 / b))
    if 1 in live and a is not None and b is not None:
        words = "the denominator instead of its square"
        yield new("missing-term", words, "not-squared", node, 1, times(-a, 1 / b))
