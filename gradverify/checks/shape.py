"""Every gradient has the shape of its primal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, shape_measured
from gradverify.types import Bench, Measurement


@registry.check("shape", catches=("unreduced-broadcast", "wrong-axis", "transposed"), level="quick")
def shape(bench: Bench) -> Iterator[Measurement]:
    """The gradient of a primal has the primal's own shape, broadcasting and size-one axes included.

    Why: ``W -= lr * dW`` broadcasts. A gradient of shape (3,) for a parameter of shape (3, 1) turns the parameter
    into (3, 3) without a word, and an engine such as torch sums an unreduced gradient before anybody looks.
    Right: ``db = delta.sum(axis=0)`` for a bias (n_out,). Wrong: ``db = delta``, of shape (batch, n_out).
    """
    gradients = bench.run().pullback(copied(bench.upstream))
    for name, primal in bench.case.primals.items():
        gradient = gradients.get(name)
        if gradient is not None:
            got = np.shape(gradient)
            yield shape_measured(
                name, got, primal.shape, f"the gradient of {name} has shape {got}, {name} has {primal.shape}",
                facts={"primal": name, "got_shape": got, "want_shape": primal.shape},
            )  # fmt: skip
