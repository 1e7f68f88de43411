"""What is not differentiable has no gradient."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.checks._tools import copied, count
from gradverify.errors import Unsupported
from gradverify.types import Bench, Measurement, differentiable


@registry.check("integers-get-no-gradient", catches=("extra-term",), level="quick")
def integers_get_no_gradient(bench: Bench) -> Iterator[Measurement]:
    """An integer or bool primal (labels, indices, masks) gets None; zeros are accepted and noted.

    Why: "no derivative exists" is not "the derivative is zero", and a non-zero gradient of an index is an optimiser
    step on the labels. If the array was meant to be real, pass it as floats.
    Right: ``return dx, None`` for (x, labels). Wrong: ``return dx, p - one_hot``.
    """
    whole = {k: v for k, v in bench.case.primals.items() if not differentiable(v) and v.size}
    if not whole:
        raise Unsupported("no primal holds integers or bools")
    gradients = bench.run().pullback(copied(bench.upstream))
    for name, primal in whole.items():
        gradient = gradients.get(name)
        wrong = 0 if gradient is None else int(np.count_nonzero(gradient))
        notes = (f"{name} is {primal.dtype} and gets zeros; None says that no derivative exists",)
        yield count(
            name, wrong,
            f"{name} is {primal.dtype}, which has no derivative, yet its gradient has {wrong} non-zero entries; "
            f"pass {name} as floats, or as a constant",
            notes=() if gradient is None else notes, facts={"primal": name},
        )  # fmt: skip
