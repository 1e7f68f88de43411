"""Points for the rules of differentiation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradverify import registry
from gradverify.cases._of import point
from gradverify.types import Case


@registry.case_family("calculus")
def calculus(rng: np.random.Generator) -> Iterator[Case]:
    """Rules of differentiation, inside their domains: positive where a logarithm or a root is taken."""
    x, positive = rng.normal(0, 1, (3, 4)), rng.uniform(0.3, 3, (3, 4))
    yield point("power", "square", x=x)
    yield point("power", "cube", constants={"n": 3}, x=x)
    yield point("power", "root", constants={"n": 0.5}, x=positive)
    yield point("power", "reciprocal", constants={"n": -1}, x=positive)
    yield point("power", "zeroth", "edge", {"n": 0}, x=x)
    yield point("power", "square-at-0", "edge", x=np.array([0.0, 0.5, -0.5]))
    yield point("exponential", "3x4", x=x)
    yield point("exponential", "scalar", "edge", x=np.array(0.7))
    yield point("logarithm", "3x4", x=positive)
    yield point("logarithm", "small", "edge", x=rng.uniform(1e-3, 1e-2, 5))
    yield point("constant", "3x4", constants={"c": 2.5}, x=x)
    for op in ("constant_multiple", "sum_rule", "multivariable_chain_rule", "derivative_of_a_sum"):
        yield point(op, "3x4", x=x)
        yield point(op, "scalar", "edge", x=np.array(-0.6))
    yield point("chain_rule", "3x4", x=x)
    yield point("chain_rule", "minimum", "edge", x=np.array([-5 / 3, 0.0, 1.0]))
    yield point("extended_chain_rule", "3x4", x=x)
    yield point("product", "3x4", p=x, q=rng.normal(0, 1, (3, 4)))
    yield point("product", "one-is-0", "edge", p=np.array([0.0, 2.0]), q=np.array([3.0, 0.5]))
