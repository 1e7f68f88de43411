"""The layers of a user's network: which of its primals are the weights, and what their gradients are."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from gradverify.errors import UsageError
from gradverify.sampling import quiet
from gradverify.types import Adapter, Array, Case, differentiable, leaves, like, rng_for

#: What people call the weights of a layer: W1, weight, fc.weight, kernel_2, theta1, Wxh.
WEIGHT = re.compile(r"(^|[._])(w|theta|kernel|weights?)(\d|_|$|\.)|^w[a-z]{0,2}\d*$|weight|kernel", re.IGNORECASE)


def weights_of(adapter: Adapter, case: Case, named: Sequence[str] = ()) -> list[str]:
    """The names of the weight matrices, the first layer first: those ``named``, or those that look like it.

    Raises UsageError when a name is unknown or when no primal looks like a weight.
    """
    if named:
        unknown = [n for n in named if n not in case.primals]
        if unknown:
            raise UsageError(
                f"--weights names {unknown[0]!r}; the primals of {case.name} are {', '.join(case.primals)}"
            )
        return list(named)
    own = getattr(adapter, "parameters", None)
    parameters = own() if own is not None else {}
    found = [n for n, v in case.primals.items() if n in parameters and v.ndim >= 2]
    found = found or [n for n, v in case.primals.items() if v.ndim >= 2 and differentiable(v) and WEIGHT.search(n)]
    if not found:
        raise UsageError(
            f"{case.name}: none of {', '.join(case.primals)} looks like the weights of a layer; "
            "name them, the first layer first: --weights W1,W2"
        )
    return sorted(found, key=_number) if len({_stem(n) for n in found}) == 1 else found


def bias_of(weights: str, case: Case) -> str | None:
    """The bias that belongs to these weights by its name and length: b1 to W1, fc.bias to fc.weight."""
    n_out = {case.primals[weights].shape[0], case.primals[weights].shape[-1]}
    for old, new in (("weight", "bias"), ("W", "b"), ("w", "b"), ("kernel", "bias")):
        name = weights.replace(old, new)
        if name != weights and name in case.primals and case.primals[name].size in n_out:
            return name
    return None


def _number(name: str) -> list[int]:
    return [int(d) for d in re.findall(r"\d+", name)]


def _stem(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def gradients_of(adapter: Adapter, case: Case, seed: int) -> dict[str, Array | None]:
    """The gradients for an upstream of ones (a loss) or of random numbers (anything else)."""
    with quiet():
        out, pullback = adapter.vjp(case)
        parts = {k: np.asarray(v) for k, v in leaves(out).items()}
        rng = rng_for(seed, case.name, "upstream")
        ups = {
            k: np.ones(v.shape, v.dtype) if v.size == 1 else rng.standard_normal(v.shape).astype(v.dtype)
            for k, v in parts.items()
        }
        return dict(pullback(like(out, ups)))
