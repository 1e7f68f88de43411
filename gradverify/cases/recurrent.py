"""Points for recurrent networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("recurrent")
def recurrent(rng: np.random.Generator) -> Iterator[Case]:
    """Sequences whose length, batch and widths all differ, with an initial state that is not zero; one step."""
    T, B, n_in, n = 4, 2, 3, 5
    for said, tags, steps in (("4-steps", "", T), ("one-step", "edge", 1)):
        X, h0, c0 = (rng.normal(0, 1, shape) for shape in ((steps, B, n_in), (B, n), (B, n)))
        states: tuple[tuple[str, int, dict[str, Any]], ...] = (("rnn", 1, {}), ("lstm", 4, {"c0": c0}))
        for op, gates, state in states:
            weights: dict[str, Any] = {
                "Wx": rng.normal(0, 0.6, (gates * n, n_in)),
                "Wh": rng.normal(0, 0.6, (gates * n, n)),
                "b": rng.normal(0, 0.5, gates * n),
            }
            yield point(op, said, tags, X=X, h0=h0, **state, **weights)
