"""Gradient checkpointing: memory against recomputation. Derivation, section 'Memory Complexity'.

A network keeps a^(l) and z^(l) of every layer for the backward pass. With checkpoints only every k-th a^(l) is
kept; backward recomputes one segment of k layers at a time, from its checkpoint, with the very same operations,
so the gradients are identical to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reference_impl.activations import activation
from reference_impl.affine import affine
from reference_impl.network import depth
from reference_impl.shapes import Array, ArrayLike, Function, Pullback, cotangent, real


@dataclass
class Ledger:
    """Counts the activations and pre-activations held for the backward pass, in arrays and in numbers."""

    arrays: int = 0
    numbers: int = 0
    peak_arrays: int = 0
    peak_numbers: int = 0
    layers_computed: int = 0  #: forward computations of a layer, recomputations included

    def hold(self, *arrays: Array) -> None:
        """These are stored from now on."""
        self.arrays += len(arrays)
        self.numbers += sum(a.size for a in arrays)
        self.peak_arrays = max(self.peak_arrays, self.arrays)
        self.peak_numbers = max(self.peak_numbers, self.numbers)

    def release(self, *arrays: Array) -> None:
        """These are no longer stored."""
        self.arrays -= len(arrays)
        self.numbers -= sum(a.size for a in arrays)


def deep_network(
    X: ArrayLike,
    *parameters: ArrayLike,
    activations: str = "tanh",
    every: int | None = None,
    ledger: Ledger | None = None,
) -> tuple[Array, Pullback]:
    """a^(L) = sigma(W_L ... sigma(W_1 x + b_1) ... + b_L), and its pullback.

    X           (..., B, n_0); parameters W1, b1, ..., W_L, b_L as for ``network``; activations: one name
    every       keep only the input of every ``every``-th layer (sqrt(L) is a good choice); None keeps everything
    ledger      counts what is held; in a forward and one backward the layers are computed at most twice
    pullback(u: like a^(L)) -> (dX, dW1, db1, ..., dW_L, db_L), the same bits for every ``every``.
    Derivation, section 'Memory Complexity'. Source: Chen et al., arXiv:1604.06174.
    """
    L, sigma, book = depth(parameters), activation(activations), ledger or Ledger()
    if every is not None and every < 1:
        raise ValueError(f"every: {every}, expected None or a number of layers >= 1")
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    a = real("X", X, 2, "(..., B, n_0), samples in rows")
    book.hold(a)

    if every is None:
        out, back, _ = _segment(a, layers, sigma, book)
        return out, back

    starts = range(0, L, every)
    checkpoints = []
    for start in starts:
        checkpoints.append(a)
        a = _forward_only(a, layers[start : start + every], sigma, book)
        if start + every < L:
            book.hold(a)
    out = a

    def pullback(upstream: ArrayLike) -> tuple[Array, ...]:
        da = cotangent(upstream, out)
        gradients: tuple[Array, ...] = ()
        for start, checkpoint in zip(reversed(starts), reversed(checkpoints), strict=True):
            _, back, held = _segment(checkpoint, layers[start : start + every], sigma, book)
            da, *of_segment = back(da)
            gradients = (*of_segment, *gradients)
            del back  # the segment's arrays are free before the next one is recomputed
            book.release(*held)
            del held
        return da, *gradients

    return out, pullback


def _forward_only(a: Array, layers: Sequence[tuple[ArrayLike, ArrayLike]], sigma: Function, book: Ledger) -> Array:
    """The output of these layers; nothing is kept."""
    for W, b in layers:
        a = sigma(affine(a, W, b)[0])[0]
        book.layers_computed += 1
    return a


def _segment(
    a: Array, layers: Sequence[tuple[ArrayLike, ArrayLike]], sigma: Function, book: Ledger
) -> tuple[Array, Pullback, list[Array]]:
    """The output of these layers, the pullback with every z and a kept, and the list of those."""
    pullbacks: list[tuple[Pullback, Pullback]] = []
    held: list[Array] = []
    for W, b in layers:
        z, through_affine = affine(a, W, b)
        a, through_sigma = sigma(z)
        pullbacks.append((through_affine, through_sigma))
        held += [z, a]
        book.hold(z, a)
        book.layers_computed += 1

    def pullback(upstream: ArrayLike) -> tuple[Array, ...]:
        da: Any = upstream
        gradients: tuple[Array, ...] = ()
        for through_affine, through_sigma in reversed(pullbacks):
            delta = through_sigma(da)[0]
            da, dW, db = through_affine(delta)
            gradients = (dW, db, *gradients)
        return (da, *gradients)

    return a, pullback, held
