"""Points for element-wise activations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case

SMOOTH = ("identity", "sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "softplus", "mish")
#: piecewise, with a kink at 0; the constants of its second point
PIECEWISE = {"relu": {}, "leaky_relu": {"alpha": 0.2}, "elu": {"alpha": 0.7}}
# never all saturated: where every slope is nearly 0, the cancellation in s (1 - s) of the text is all that is left
TAILS = np.array([-30.0, -12.0, -6.0, -0.5, 0.7, 6.0, 12.0, 30.0])
FAR = np.array([-1e4, -500.0, -0.6, 0.8, 500.0, 1e4])


@registry.case_family("activations")
def activations(rng: np.random.Generator) -> Iterator[Case]:
    """Activations on both sides of 0, in both tails, at +-1e4, and at 0 where there is a kink."""
    z = rng.choice([-1.0, 1.0], (3, 4)) * rng.uniform(0.1, 3, (3, 4))
    for op in (*SMOOTH, *PIECEWISE):
        yield point(op, "3x4", z=z)
        yield point(op, "tails", "saturated", z=TAILS)
        yield point(op, "far", "large saturated", z=FAR)
    for op in SMOOTH:
        yield point(op, "at-0", "edge", z=np.array([0.0, 0.3, -0.3]))
    for op, constants in PIECEWISE.items():
        if constants:
            yield point(op, "alpha", constants=constants, z=z)
        yield point(op, "at-0", "kink edge", constants, z=np.array([-1.0, 0.0, 0.5, 0.0]))
        yield point(op, "near-0", "edge", z=np.array([1e-5, -1e-5, 2.0, -2.0]))
