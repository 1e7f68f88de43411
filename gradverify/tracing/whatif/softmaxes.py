"""Softmaxes, written by hand or called: entry by entry, twice, along another axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.edits import Edit
from gradverify.tracing.whatif.graph import Network
from gradverify.tracing.whatif.unary import bypass


def edits(network: Network) -> Iterator[Edit]:
    """Nodes called softmax, torch's own, and logits of which exponentials are summed."""
    for mark in network.marks:
        if mark.name == "softmax" and mark.y.grad_fn in network.users and mark.x.shape == mark.y.shape:
            s = mark.y.detach()
            for words, cause, rule in _rules(s, _axis(s)):
                yield Edit(cause=cause, words=f"the softmax {words}", kind=f"softmax {words}", node=mark.y.grad_fn,
                           pre=bypass(mark.x, mark.y, rule))  # fmt: skip
            yield from _twice(mark.x, s, _axis(s))
        elif mark.name == "sumexp" and mark.x.grad_fn in network.users:
            axis = next((k for k, (a, b) in enumerate(zip(mark.x.shape, mark.y.shape, strict=False)) if a != b), -1)
            yield from _twice(mark.x, torch.softmax(mark.x.detach(), axis), axis)
    for node in network.nodes:
        if node.name() == "SoftmaxBackward0":
            s, axis = node._saved_result.detach(), _signed(node._saved_dim)
            for words, cause, rule in _rules(s, axis):

                def hook(inputs: list[Any], arriving: Any, rule: Callable[[Any], Any] = rule) -> None:
                    inputs[0] = rule(arriving[0])

                yield Edit(cause=cause, words=f"the softmax {words}", kind=f"softmax {words}", node=node,
                           post={node: hook})  # fmt: skip
        if node.name() in ("LogSoftmaxBackward0", "SoftmaxBackward0"):
            s = node._saved_result.detach()
            s = s.exp() if node.name().startswith("Log") else s
            axis = _signed(node._saved_dim)

            def again(inputs: list[Any], _: Any, s: Tensor = s, axis: int = axis) -> None:
                inputs[0] = jacobian(s, axis)(inputs[0])

            def diagonal(inputs: list[Any], _: Any, s: Tensor = s) -> None:
                inputs[0] = inputs[0] * s * (1 - s)

            for words, two in (("its Jacobian", again), ("s (1 - s)", diagonal)):
                yield Edit(cause="cross-entropy-twice", words=f"the gradient at the logits times {words} once more",
                           kind=f"twice {words}", node=node, post={node: two})  # fmt: skip


def _signed(axis: int) -> int:
    """Torch saves -1 as an unsigned number."""
    return axis - 2**64 if axis >= 2**63 else axis


def jacobian(s: Tensor, axis: int) -> Callable[[Any], Any]:
    """What arrives -> J^T times it, for the softmax with value ``s``."""
    return lambda g: s * (g - (g * s).sum(axis, keepdim=True))


def _axis(s: Tensor) -> int:
    return next((k for k in reversed(range(s.ndim)) if bool(((s.sum(k) - 1).abs() < 1e-5).all())), -1)


def _rules(s: Tensor, axis: int) -> Iterator[tuple[str, str, Callable[[Any], Any]]]:
    yield "entry by entry, s (1 - s)", "softmax-elementwise", lambda g: g * s * (1 - s)
    yield "as s alone", "softmax-elementwise", lambda g: g * s
    yield "left out", "missing-activation-derivative", lambda g: g
    yield "with a sum that is not weighted by s", "missing-term", lambda g: s * (g - g.sum(axis, keepdim=True))
    yield "with the mean for the weighted sum", "missing-term", lambda g: s * (g - g.mean(axis, keepdim=True))
    yield "with a sum over everything", "wrong-axis", lambda g: s * (g - (g * s).sum())
    for k in range(s.ndim):
        if k != axis % s.ndim:
            yield f"summed over axis {k}", "wrong-axis", jacobian(s, k)


def _twice(x: Tensor, s: Tensor, axis: int) -> Iterator[Edit]:
    """What arrives at the logits went through the softmax once more."""
    for words, rule in (("its Jacobian", jacobian(s, axis)), ("s (1 - s)", lambda g: g * s * (1 - s))):

        def hook(arriving: list[Any], rule: Callable[[Any], Any] = rule) -> None:
            arriving[x.output_nr] = rule(arriving[x.output_nr])

        yield Edit(cause="cross-entropy-twice", words=f"the gradient at the logits times {words} once more",
                   kind=f"twice {words}", node=x.grad_fn, pre={x.grad_fn: hook})  # fmt: skip
