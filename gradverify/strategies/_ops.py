"""One strategy per op of the catalogue, most of them a line: shapes by letters, kinds of entries, constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from gradverify.strategies import (
    ANY,
    EXACT,
    LARGEST,
    SMOOTH,
    Architecture,
    filled,
    labels,
    layers,
    networks,
    small,
    values,
)  # fmt: skip
from gradverify.types import Case

Dims = Mapping[str, int]
MODERATE = ("plain", "zeros", "ties", "subnormal")


@dataclass(frozen=True)
class Spec:
    """An op whose primals are independent of each other.

    shapes     primal -> letters, each an axis whose length is drawn
    kinds      what entries may be like (see ``KINDS``)
    constants  (draw, dims, dtype) -> constants
    least      letter -> its least length, 1 without;  most  likewise, 4 without
    """

    shapes: Mapping[str, str]
    kinds: Sequence[str] = ANY
    constants: Callable[[DrawFn, Dims, str], dict[str, Any]] = lambda *_: {}
    least: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)
    positive: bool = False


@st.composite
def drawn(draw: DrawFn, op: str, spec: Spec, dtype: str, largest: int) -> Case:
    """A case of an op from its spec."""
    letters = dict.fromkeys("".join(spec.shapes.values()).lower())
    least = {c: spec.least.get(c, 1) for c in letters}
    most = {c: max(n, min(spec.most.get(c, LARGEST), largest)) for c, n in least.items()}
    dims = {c: draw(st.integers(least[c], most[c])) for c in letters}
    dims |= {c.upper(): 4 * n for c, n in dims.items()}  # the four gates of an LSTM
    constants = spec.constants(draw, dims, dtype)
    kinds = draw(st.lists(st.sampled_from(tuple(spec.kinds)), min_size=len(spec.shapes), max_size=len(spec.shapes)))
    primals = {
        k: filled(draw, tuple(dims[c] for c in shape), dtype, kind, spec.positive)
        for (k, shape), kind in zip(spec.shapes.items(), kinds, strict=True)
    }
    return Case(name=f"{op}/generated", op=op, primals=primals, constants=constants)


def _reduction(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    return {"reduction": draw(st.sampled_from(("mean", "sum", "none")))}


def _labels(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    return {"y": draw(labels(dims["b"], dims["k"])), **_reduction(draw, dims, dtype)}


def _binary(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    y = draw(labels(dims["b"] * dims["k"], 2)).reshape(dims["b"], dims["k"])
    return {"y": y.astype(dtype), **_reduction(draw, dims, dtype)}


def _mask(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    kept = draw(labels(dims["b"] * dims["k"], 2)).reshape(dims["b"], dims["k"])
    return {"mask": kept.astype(bool), "rate": draw(st.sampled_from((0.5, 0.0, 0.25)))}


def _indices(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    return {"indices": draw(labels(draw(st.integers(1, 4)), dims["v"]))}


def _statistics(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    n = (dims["k"],)
    return {"mean": draw(values(n, dtype, EXACT)), "var": draw(values(n, dtype, EXACT, True))}


def _steps(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    return {"stride": draw(st.integers(1, 2)), "padding": draw(st.integers(0, 1))}


def _window(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    return {"size": draw(st.integers(1, 2)), "stride": draw(st.integers(1, 2))}


def _axis(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    return {"axis": draw(st.sampled_from((-1, -2)))}


def _exponent(draw: DrawFn, dims: Dims, dtype: str) -> dict[str, Any]:
    return {"n": draw(st.sampled_from((2, 3, 1)))}


ROWS = {"z": "bk"}
PAIR = {"A": "bk", "Y": "bk"}
NORM = {"X": "bk", "gamma": "k", "beta": "k"}
IMAGE = {"b": 2, "c": 2, "o": 2}
WINDOW = {"y": 2, "x": 2}

SPECS: dict[str, Spec] = {
    **{op: Spec(ROWS) for op in (*SMOOTH, "relu", "leaky_relu", "elu", "gelu_tanh", "mish")},
    "affine": Spec({"A": "bi", "W": "oi", "b": "o"}),
    "softmax": Spec(ROWS, constants=_axis),
    "log_softmax": Spec(ROWS, constants=_axis),
    "half_squared_error": Spec(PAIR, constants=_reduction),
    "mse": Spec(PAIR, constants=_reduction),
    "huber": Spec(PAIR, EXACT, _reduction),
    "bce_with_logits": Spec(ROWS, constants=_binary),
    "softmax_cross_entropy": Spec(ROWS, constants=_labels, least={"k": 2}),
    "softmax_cross_entropy_two_step": Spec(ROWS, MODERATE, _labels, least={"k": 2}),
    "standardise": Spec({"x": "bk"}, MODERATE, _axis),
    "batch_norm": Spec(NORM, MODERATE, least={"b": 2}),
    "layer_norm": Spec(NORM, MODERATE),
    "batch_norm_eval": Spec(NORM, constants=_statistics),
    "dropout": Spec({"X": "bk"}, constants=_mask),
    "embedding": Spec({"table": "vk"}, constants=_indices),
    "conv2d": Spec({"X": "bcyx", "W": "ocgh", "b": "o"}, MODERATE, _steps, {"y": 2, "x": 2}, {**IMAGE, "g": 2, "h": 2}),
    "max_pool2d": Spec({"X": "bcyx"}, constants=_window, least=WINDOW, most=IMAGE),
    "mean_pool2d": Spec({"X": "bcyx"}, constants=_window, least=WINDOW, most=IMAGE),
    "rnn": Spec({"X": "tbi", "h0": "bn", "Wx": "ni", "Wh": "nn", "b": "n"}, MODERATE, most={"t": 3, "n": 3}),
    "lstm": Spec({"X": "tbi", "h0": "bn", "c0": "bn", "Wx": "Ni", "Wh": "Nn", "b": "N"}, MODERATE,
                 most={"t": 2, "n": 2, "b": 3}),
    "attention": Spec({"Q": "qd", "K": "kd", "V": "ke"}, MODERATE),
    "product": Spec({"p": "bk", "q": "bk"}),
    "power": Spec({"x": "bk"}, MODERATE, _exponent),
    "logarithm": Spec({"x": "bk"}, positive=True),
    **{
        op: Spec({"x": "bk"}, MODERATE)
        for op in ("exponential", "constant_multiple", "sum_rule", "chain_rule", "extended_chain_rule",
                   "multivariable_chain_rule", "derivative_of_a_sum")
    },
}  # fmt: skip


@st.composite
def two_layer(draw: DrawFn, dtype: str, largest: int) -> Case:
    """Two layers and half the squared error."""
    b, *widths = draw(st.tuples(*[st.integers(1, largest)] * 4))
    sigma = draw(st.sampled_from(("relu", "sigmoid", "tanh")))
    kinds = EXACT if sigma == "relu" else ANY
    primals = {"X": draw(values((b, widths[0]), dtype, kinds)), "Y": draw(values((b, widths[2]), dtype, EXACT))}
    primals |= layers(draw, widths, dtype)
    return Case(name="two_layer/generated", op="two_layer", primals=primals, constants={"sigma": sigma})


@st.composite
def deep_network(draw: DrawFn, dtype: str, largest: int) -> Case:
    """One activation in every layer, no loss."""
    net: Architecture = draw(small(largest))
    sigma = draw(st.sampled_from(("relu", "tanh", "sigmoid")))
    kinds = EXACT if sigma == "relu" else ANY
    primals = {"X": draw(values((net.batch, net.widths[0]), dtype, kinds)), **layers(draw, net.widths, dtype)}
    return Case(name="deep_network/generated", op="deep_network", primals=primals, constants={"activations": sigma})


@st.composite
def residual_block(draw: DrawFn, dtype: str, largest: int) -> Case:
    """X plus two layers of x."""
    b, n, m = draw(st.tuples(*[st.integers(1, largest)] * 3))
    sigma = draw(st.sampled_from(("relu", "tanh")))
    kinds = EXACT if sigma == "relu" else ANY
    primals = {"X": draw(values((b, n), dtype, kinds)), **layers(draw, (n, m, n), dtype)}
    return Case(name="residual_block/generated", op="residual_block", primals=primals, constants={"sigma": sigma})


def _of(op: str, spec: Spec) -> Callable[[str, int], SearchStrategy[Case]]:
    return lambda dtype, largest: drawn(op, spec, dtype, largest)


#: op -> (dtype, length of an axis at most) -> cases
DRAWN: dict[str, Callable[[str, int], SearchStrategy[Case]]] = {
    **{op: _of(op, spec) for op, spec in SPECS.items()},
    "network": lambda dtype, largest: networks(dtype=dtype, shape=small(largest)),
    "two_layer": two_layer,
    "deep_network": deep_network,
    "residual_block": residual_block,
}
