"""Matrix products and products entry by entry: an operand transposed, left out, or another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network, Node, Post

#: node -> (positions of the two factors, names of what is saved of them)
MATRIX = {
    "MmBackward0": ((0, 1), ("_saved_self", "_saved_mat2")),
    "BmmBackward0": ((0, 1), ("_saved_self", "_saved_mat2")),
    "AddmmBackward0": ((1, 2), ("_saved_mat1", "_saved_mat2")),
}


def edits(network: Network) -> Iterator[Edit]:
    """All products of the network."""
    products = [n for n in network.nodes if n.name() in MATRIX]
    for k, node in enumerate(products):
        yield from _matrix(network, node, products[max(0, k - 1) : k] + products[k + 1 : k + 2])
    for node in network.nodes:
        name = node.name()
        if name in ("MmBackward0", "MulBackward0") and len(network.live(node)) > 1:
            yield from _both(network, node)
        if name.startswith(("Tril", "Triu")):
            yield _new("wrong-mask", f"the mask of {name[:4].lower()} left out", "mask-out", node, 0, lambda g: g)
        if name == "MulBackward0":
            yield from _times(network, node)
        elif name == "DivBackward0":
            yield from _over(network, node)
        elif name == "MvBackward0":
            yield from _mv(network, node)
        elif name.startswith("LinalgInvEx"):
            inverse = node._saved_inverse
            yield _new("transposed", "the inverse not transposed", "inv", node, 0,
                       lambda g, inverse=inverse: -inverse @ g @ inverse)  # fmt: skip
        elif name.startswith("LinalgSolveEx"):
            yield from _solve(node)


def _new(cause: str, words: str, kind: str, node: Node, i: int, rule: Callable[[Any], Any]) -> Edit:
    """``rule`` (gradient that arrives) -> gradient of input ``i``, summed to its shape."""
    return Edit(cause=cause, words=words, kind=f"{kind} {i}", node=node, post={node: _post(i, rule)})


def _post(i: int, rule: Callable[[Any], Any]) -> Post:
    def hook(inputs: list[Any], arriving: Any) -> None:
        if inputs[i] is not None:
            inputs[i] = rule(arriving[0]).sum_to_size(tuple(inputs[i].shape))

    return hook


def _matrix(network: Network, node: Node, neighbours: list[Node]) -> Iterator[Edit]:
    (left, right), saved = MATRIX[node.name()]
    live = network.live(node)
    a = getattr(node, saved[0]) if right in live else None
    b = getattr(node, saved[1]) if left in live else None
    if left in live:
        k, m = b.shape[-2:]
        n = int(network.arriving[node][0].shape[-2]) if network.arriving.get(node, [None])[0] is not None else 0
        if k == m and k > 0:
            yield _new("transposed", "the right factor not transposed", "no-transpose", node, left, lambda g: g @ b)
            yield _new("missing-term", "the right factor left out", "no-factor", node, left, lambda g: g)
        if n == k:
            yield _new("transposed", "the gradient of the left factor transposed", "result", node, left,
                       lambda g: (g @ b.mT).mT)  # fmt: skip
        if n == m:
            yield _new("transposed", "what arrives transposed", "arriving", node, left, lambda g: g.mT @ b.mT)
        for other in neighbours:
            b2 = getattr(other, MATRIX[other.name()][1][1]) if MATRIX[other.name()][0][0] in network.live(other) else None
            if b2 is not None and b2.shape == b.shape and not torch.equal(b2, b):
                for words, c in (("", b2), (", transposed", b2.mT)):
                    if c.shape == b.shape:
                        yield _new("off-by-one-layer", f"the right factor of the neighbouring product{words}",
                                   f"neighbour{words}", node, left, lambda g, c=c: g @ c.mT)  # fmt: skip
    if right in live:
        n, k = a.shape[-2:]
        m = int(network.arriving[node][0].shape[-1]) if network.arriving.get(node, [None])[0] is not None else 0
        if n == k and k > 0:
            yield _new("transposed", "the left factor not transposed", "no-transpose", node, right, lambda g: a @ g)
            yield _new("missing-term", "the left factor left out", "no-factor", node, right, lambda g: g)
        if k == m:
            yield _new("transposed", "the gradient of the right factor transposed", "result", node, right,
                       lambda g: (a.mT @ g).mT)  # fmt: skip
        if n == m:
            yield _new("transposed", "what arrives transposed", "arriving", node, right, lambda g: a.mT @ g.mT)
        if a.ndim == 2 and n > 1:
            yield from _one_row(node, right, a)
        for other in neighbours:
            a2 = getattr(other, MATRIX[other.name()][1][0]) if MATRIX[other.name()][0][1] in network.live(other) else None
            if a2 is not None and a2.shape == a.shape and not torch.equal(a2, a):
                for words, c in (("", a2), (", transposed", a2.mT)):
                    if c.shape == a.shape:
                        yield _new("off-by-one-layer", f"the left factor of the neighbouring product{words}",
                                   f"neighbour{words}", node, right, lambda g, c=c: c.mT @ g)  # fmt: skip


def _one_row(node: Node, i: int, a: Tensor) -> Iterator[Edit]:
    """Of the sum over the rows (samples) only one term, alone or for all."""
    n = a.shape[0]
    for words, k in (("first", 0), ("last", n - 1)):
        for how, factor in (("", 1), (", for all", n)):

            def rule(g: Any, k: int = k, factor: int = factor) -> Any:
                return factor * (torch.outer(a[k], g[k]) if g.ndim > 1 else a[k] * g[k])

            yield _new("dropped-samples", f"the {words} row alone{how}", f"row {words}{how}", node, i, rule)


def _both(network: Network, node: Node) -> Iterator[Edit]:
    """Both factors get what a transposed upstream would give them."""
    g = network.arriving.get(node, [None])[0]
    if g is not None and g.ndim == 2 and g.shape[0] == g.shape[1] > 1:

        def turned(arriving: list[Any]) -> None:
            arriving[0] = arriving[0].mT

        yield Edit(cause="transposed", words="what arrives transposed, for both factors", kind="turned", node=node,
                   pre={node: turned})  # fmt: skip
    if node.name() == "MmBackward0":
        a, b = node._saved_self, node._saved_mat2
        if a is not None and b is not None and a.shape == b.shape == a.mT.shape:

            def untransposed(inputs: list[Any], arriving: Any) -> None:
                inputs[0], inputs[1] = arriving[0] @ b, a @ arriving[0]

            yield Edit(cause="transposed", words="both factors not transposed", kind="no-transpose both", node=node,
                       post={node: untransposed})  # fmt: skip


def _mv(network: Network, node: Node) -> Iterator[Edit]:
    live = network.live(node)
    if 1 in live and node._saved_self.shape[0] > 1:
        yield from _one_row(node, 1, node._saved_self)
    if 1 in live and node._saved_self.shape[0] == node._saved_self.shape[1]:
        a = node._saved_self
        yield _new("transposed", "the matrix not transposed", "no-transpose", node, 1, lambda g: a @ g)
    if 0 in live and node._saved_vec.shape == network.arriving[node][0].shape:
        v = node._saved_vec
        yield _new("transposed", "the outer product transposed", "result", node, 0, lambda g: torch.outer(v, g))


def is_mask(t: Tensor) -> bool:
    """A constant of zeros and ones."""
    return not t.requires_grad and t.ndim > 0 and bool(((t == 0) | (t == 1)).all()) and bool((t == 0).any())


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
            on = other[other != 0].flatten()[0]
            yield _new("wrong-mask", "the mask left out", "mask-out", node, i, lambda g: g)
            if float(on) != 1:
                yield _new("wrong-mask", "the mask left out, its factor kept", "mask-one", node, i,
                           lambda g, on=on: g * on)  # fmt: skip
                yield _new("missing-term", "the factor of the mask left out", "mask-factor", node, i,
                           lambda g, o=other, on=on: g * o / on)  # fmt: skip
            yield _new("wrong-mask", "the complement of the mask", "mask-not", node, i,
                       lambda g, o=other, on=on: g * (on - o))  # fmt: skip
            yield _new("wrong-mask", "the complement of the mask without its factor", "mask-not-one", node, i,
                       lambda g, o=other: g * (o == 0))  # fmt: skip
            yield _new("wrong-mask", "the sign of what arrives as the mask", "mask-up", node, i,
                       lambda g, on=on: g * on * (g > 0))  # fmt: skip
        else:
            plain = "scale" if other.numel() == 1 else "missing-term"
            yield _new(plain, f"{_name(other)} left out", "factor-out", node, i, lambda g: g)
            yield _new("extra-term", "the other factor applied twice", "factor-twice", node, i,
                       lambda g, o=other: g * o * o)  # fmt: skip
        if own is not None and own.shape == other.shape and len(live) > 1:
            yield _new("missing-term", "the factor itself for the other one", "factor-own", node, i,
                       lambda g, o=own: g * o)  # fmt: skip
        if own is not None and own.ndim == other.ndim == 2 and own.shape == other.mT.shape and own.shape != other.shape:
            yield _new("transposed", "the factor itself, transposed, for the other one", "factor-own-t", node, i,
                       lambda g, o=own: g * o.mT)  # fmt: skip
        if other.ndim > 1:
            yield from _moved(node, i, other)


def _name(t: Tensor) -> str:
    return f"the factor {float(t):.6g}" if t.numel() == 1 else "the other factor"


def _by(t: Tensor) -> str:
    return f" by {float(t):.6g}" if t.numel() == 1 else ""


def _moved(node: Node, i: int, other: Tensor) -> Iterator[Edit]:
    n = other.ndim
    if other.numel() > 1:
        yield _new("permuted", "the other factor flipped", "flipped", node, i,
                   lambda g: g * other.flip(tuple(range(max(0, n - 2), n))))  # fmt: skip
    for a, b in {(0, 1), (n - 2, n - 1)}:
        if other.shape[a] == other.shape[b] > 1:
            yield _new("transposed", "the other factor transposed", f"other-t{a}", node, i,
                       lambda g, a=a, b=b: g * other.transpose(a, b))  # fmt: skip


def _over(network: Network, node: Node) -> Iterator[Edit]:
    live, a, b = network.live(node), node._saved_self, node._saved_other
    if 0 in live and b is not None:
        plain = "scale" if b.numel() == 1 else "missing-term"
        yield _new(plain, f"the division{_by(b)} left out", "factor-out", node, 0, lambda g: g)
        yield _new("extra-term", "the division made twice", "factor-twice", node, 0, lambda g: g / b / b)
    if 1 in live and a is not None and b is not None:
        yield _new("missing-term", "the denominator instead of its square", "not-squared", node, 1, lambda g: -g * a / b)


def _solve(node: Node) -> Iterator[Edit]:
    a, x = node._saved_A, node._saved_result

    def solved(m: Tensor, g: Tensor) -> Tensor:
        return torch.linalg.solve(m, g[..., None])[..., 0] if x.ndim < a.ndim else torch.linalg.solve(m, g)

    def outer(g: Tensor) -> Tensor:
        return -(g[..., :, None] * x[..., None, :]) if x.ndim < a.ndim else -g @ x.mT

    def both(inputs: list[Any], arriving: Any) -> None:
        new = solved(a, arriving[0])
        if inputs[0] is not None:
            inputs[0] = outer(new)
        if inputs[1] is not None:
            inputs[1] = new

    words = "the system solved with the matrix, not with its transpose"
    yield Edit(cause="transposed", words=words, kind="solve", node=node, post={node: both})
