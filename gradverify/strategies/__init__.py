"""Hypothesis strategies: cases of every op of the catalogue, and networks of any architecture.

    from hypothesis import given
    from gradverify.strategies import cases, networks

    @given(cases("softmax"))
    def test_my_softmax(case): ...

Everything shrinks: to fewer layers, smaller widths and batches, and to whole numbers near zero.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gradverify.errors import UsageError
from gradverify.types import Array, Case

#: What the entries of an array may be like, besides plain numbers k / 8 with |k| <= 24.
KINDS = {
    "plain": "numbers k / 8: sums and products of a few of them are exact, whatever the order",
    "zeros": "many zeros",
    "ties": "two values only, so that entries are equal",
    "saturated": "among +-12 and +-30, where sigmoid and tanh are flat",
    "large": "among +-1e4",
    "subnormal": "among the smallest numbers that the dtype has",
}
ANY = tuple(KINDS)
EXACT = ("plain", "zeros", "ties")  #: for ops with kinks: no sum depends on the order in which it is formed
LARGEST = 4  #: length of an axis: enough for all that differ, and a failure is read by people
SMOOTH = ("sigmoid", "tanh", "softplus", "silu", "gelu", "identity")
ACTIVATIONS = ("relu", *SMOOTH)


@st.composite
def values(
    draw: DrawFn, shape: tuple[int, ...], dtype: str = "float64", kinds: Sequence[str] = ANY, positive: bool = False
) -> Array:
    """An array of one of ``kinds`` (see ``KINDS``); with ``positive``, inside the domain of a logarithm."""
    return filled(draw, shape, dtype, draw(st.sampled_from(tuple(kinds))), positive)


def filled(draw: DrawFn, shape: tuple[int, ...], dtype: str, kind: str, positive: bool = False) -> Array:
    """An array of one kind.

    A composite strategy draws everything else first and arrays last: then a shape that shrinks leaves numbers over at
    the end, and all that was drawn before keeps its meaning.
    """
    n = int(np.prod(shape))
    entries = draw(st.lists(_entry(kind, dtype), min_size=n, max_size=n))
    if kind in ("saturated", "large") and n:
        entries[0] = draw(
            st.sampled_from((0.5, -0.5, 1.0, 2.0))
        )  # where the whole array is flat, all there is is rounding
    array = np.array(entries, dtype=dtype).reshape(shape)
    return np.asarray(np.abs(array) + 0.125, dtype=dtype) if positive else array


def _entry(kind: str, dtype: str) -> SearchStrategy[float]:
    plain = st.integers(-24, 24).map(lambda k: k / 8)
    tiny = float(np.finfo(dtype).smallest_subnormal)
    special: dict[str, Sequence[float]] = {
        "zeros": (0.0,),
        "saturated": (12.0, -12.0, 30.0, -30.0),
        "large": (1e4, -1e4),
        "subnormal": (tiny, -tiny, 1000 * tiny),
    }
    if kind == "ties":
        return st.sampled_from((0.5, -1.0))
    return st.one_of(st.sampled_from(special[kind]), plain) if kind in special else plain


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A fully connected network.

    widths       (n_0, n_1, .., n_L);  activations  one name per layer
    loss         "half_squared_error" or "softmax_cross_entropy" (the last activation is then "identity")
    reduction    "mean" or "sum";  batch  how many samples
    """

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str = "half_squared_error"
    reduction: str = "mean"
    batch: int = 2


@st.composite
def architectures(
    draw: DrawFn,
    *,
    max_depth: int = 3,
    max_width: int = 4,
    max_batch: int = 4,
    activations: Sequence[str] = ACTIVATIONS,
) -> Architecture:
    """Depth, widths, activations, loss, reduction and batch; shrinks to one layer of one unit and one sample."""
    depth = draw(st.integers(1, max_depth))
    widths = draw(st.lists(st.integers(1, max_width), min_size=depth + 1, max_size=depth + 1))
    names = draw(st.lists(st.sampled_from(tuple(activations)), min_size=depth, max_size=depth))
    loss = draw(st.sampled_from(("half_squared_error", "softmax_cross_entropy")))
    if loss == "softmax_cross_entropy":
        names[-1] = "identity"
        widths[-1] = max(widths[-1], 2)
    reduction, batch = draw(st.sampled_from(("mean", "sum"))), draw(st.integers(1, max_batch))
    return Architecture(widths=tuple(widths), activations=tuple(names), loss=loss, reduction=reduction, batch=batch)


def layers(draw: DrawFn, widths: Sequence[int], dtype: str) -> dict[str, Array]:
    """W1, b1, .., W_L, b_L with exact entries: a network's kinks must not depend on the order of a sum."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k, (n_in, n_out) in enumerate(itertools.pairwise(widths), start=1):
        shapes |= {f"W{k}": (n_out, n_in), f"b{k}": (n_out,)}
    kinds = draw(st.lists(st.sampled_from(EXACT), min_size=len(shapes), max_size=len(shapes)))
    return {k: filled(draw, shape, dtype, kind) for (k, shape), kind in zip(shapes.items(), kinds, strict=True)}


def small(largest: int) -> SearchStrategy[Architecture]:
    """Architectures of as many layers, units and samples at most."""
    return architectures(max_depth=min(3, largest), max_width=largest, max_batch=largest)


@st.composite
def networks(draw: DrawFn, *, dtype: str = "float64", shape: SearchStrategy[Architecture] | None = None) -> Case:
    """A case of the op ``network``: X, W1, b1, .. and the target y, labels for a classifier."""
    net = draw(shape if shape is not None else architectures())
    kinds = ANY if set(net.activations) <= set(SMOOTH) else EXACT
    constants: dict[str, Any] = {"activations": net.activations, "loss": net.loss, "reduction": net.reduction}
    if net.loss == "softmax_cross_entropy":
        constants["y"] = draw(labels(net.batch, net.widths[-1]))
    primals = {"X": draw(values((net.batch, net.widths[0]), dtype, kinds)), **layers(draw, net.widths, dtype)}
    if "y" not in constants:
        primals["y"] = draw(values((net.batch, net.widths[-1]), dtype, EXACT))
    return Case(name="network/generated", op="network", primals=primals, constants=constants)


@st.composite
def labels(draw: DrawFn, n: int, k: int) -> Array:
    """N whole numbers in [0, k)."""
    return np.array(draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)), dtype=int)


def cases(op: str, *, dtype: str = "float64", largest: int = LARGEST) -> SearchStrategy[Case]:
    """Cases of one op of the catalogue, ``op/generated``.

    largest  length of an axis, and number of layers (up to three), at most; where an op needs more it gets more
    Raises UsageError for an op without a strategy, naming those that have one.
    """
    from gradverify.strategies._ops import DRAWN

    if op not in DRAWN:
        raise UsageError(f"there is no strategy for the op {op!r}; there is one for {', '.join(sorted(DRAWN))}")
    return DRAWN[op](dtype, largest)


def smaller(case: Case) -> Iterator[Case]:
    """Cases of the same op that are smaller by one along one length; not all of them need run."""
    from gradverify.strategies._smaller import smaller as found

    return found(case)


def ops() -> list[str]:
    """The ops that ``cases`` can draw, sorted."""
    from gradverify.strategies._ops import DRAWN

    return sorted(DRAWN)
