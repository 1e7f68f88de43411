"""Where the samples are: the axes of a case's arguments and output along which examples lie side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gradverify.invariants._tools import varied
from gradverify.types import Array, Case, Out, leaves, like

ELEMENTWISE = (
    "identity", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "elu", "softplus", "mish", "relu", "leaky_relu",
)  # fmt: skip
LOSSES = {
    "half_squared_error": ("A", "Y"),
    "mse": ("A", "Y"),
    "huber": ("A", "Y"),
    "bce_with_logits": ("z", "y"),
    "softmax_cross_entropy": ("z", "y"),
    "softmax_cross_entropy_two_step": ("z", "y"),
    "two_layer": ("X", "Y"),
    "network": ("X", "y"),
}
#: op -> (axis of each argument, axis of the output)
AXES: dict[str, tuple[dict[str, int], int]] = {
    **{op: ({"z": 0}, 0) for op in ELEMENTWISE},
    "affine": ({"A": 0}, 0),
    "deep_network": ({"X": 0}, 0),
    "residual_block": ({"X": 0}, 0),
    "layer_norm": ({"X": 0}, 0),
    "batch_norm_eval": ({"X": 0}, 0),
    "conv2d": ({"X": 0}, 0),
    "max_pool2d": ({"X": 0}, 0),
    "mean_pool2d": ({"X": 0}, 0),
    "dropout": ({"X": 0, "mask": 0}, 0),
    "embedding": ({"indices": 0}, 0),
    "attention": ({"Q": -2, "mask": -2}, -2),
    "rnn": ({"X": 1, "h0": 0}, 1),
    "lstm": ({"X": 1, "h0": 0, "c0": 0}, 1),
}
ALONG = {"softmax": "z", "log_softmax": "z", "standardise": "x"}  #: rows are samples, unless ``axis`` says columns
OPS = (*AXES, *LOSSES, *ALONG)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """n samples: the axis of each argument that has them, and of the output; ``out`` None when the output is reduced.

    weight  what a sample's own loss counts for in the reduced one: 1 / n for a mean, 1 for a sum
    """

    n: int
    out: int | None
    weight: float = 1.0
    axes: Mapping[str, int] = field(default_factory=dict)

    def rows(self, case: Case, index: Array) -> Case:
        """The case of these samples alone (or in this order)."""
        arrays = {
            k: np.take(np.asarray({**case.primals, **case.constants}[k]), index, axis=a) for k, a in self.axes.items()
        }
        return varied(
            case,
            primals={k: v for k, v in arrays.items() if k in case.primals},
            constants={k: v for k, v in arrays.items() if k in case.constants},
        )

    def above(self, upstream: Out, index: Array) -> Out:
        """The upstream of these samples; a reduced output's is left as it is."""
        if self.out is None:
            return upstream
        axis = self.out
        return like(upstream, {k: np.take(v, index, axis=axis) for k, v in leaves(upstream).items()})


def batch_of(case: Case) -> Batch | None:
    """Where the samples of a case are, or None when it has none that are independent of each other.

    Other ops than those of the catalogue say so themselves: ``attrs={"batch_axis": {"x": 0}}``, and for a reduced
    output ``"reduction": "mean"`` or ``"sum"``.
    """
    held = {**case.primals, **case.constants}
    said = case.attrs.get("batch_axis")
    reduction = str(case.constants.get("reduction", case.attrs.get("reduction", "mean")))
    if isinstance(said, Mapping):
        axes, out = dict(said), None if "reduction" in case.attrs else 0
    elif case.op in LOSSES:
        axes, out = dict.fromkeys(LOSSES[case.op], 0), 0 if reduction == "none" else None
    elif case.op in ALONG:
        across = -1 if case.constants.get("axis", -1) == -2 else -2
        axes, out = {ALONG[case.op]: across}, across
        if np.ndim(held[ALONG[case.op]]) != 2:
            return None
    elif case.op in AXES:
        axes, out = AXES[case.op]
        axes = {k: a for k, a in axes.items() if held.get(k) is not None}
    else:
        return None
    if any(k not in held or np.ndim(held[k]) <= (a if a >= 0 else -a - 1) for k, a in axes.items()):
        return None
    lengths = {np.shape(held[k])[a] for k, a in axes.items()}
    if len(lengths) != 1:
        return None
    n = lengths.pop()
    return Batch(n=n, out=out, axes=axes, weight=1 / n if out is None and reduction == "mean" and n else 1.0)


def several(case: Case) -> bool:
    """True for two samples or more."""
    batch = batch_of(case)
    return batch is not None and batch.n >= 2
