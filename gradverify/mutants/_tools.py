"""What several mutants need: the batch size, and one change for every gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.types import Adapter, Array, Case, Gradients, Out, Pullback, differentiable, leaves

Mutated = dict[str, Array | None]


def batch_size(case: Case, upstream: Out) -> int | None:
    """The length that the leading axes of inputs share with each other or with the upstream; None if nobody tells."""
    said = case.attrs.get("batch_axis")
    arrays = {**case.primals, **case.constants}
    if isinstance(said, dict) and said:
        name, axis = next(iter(said.items()))
        return int(np.asarray(arrays[name]).shape[axis])
    inputs = [np.shape(v)[0] for v in case.primals.values() if np.ndim(v) > 1]
    others = [np.shape(v)[0] for v in case.constants.values() if isinstance(v, np.ndarray) and v.ndim]
    above = [np.shape(v)[0] for v in leaves(upstream).values() if np.ndim(v)]
    for n in [*others, *inputs]:
        if ((others + inputs).count(n) > 1 and n in others) or n in above:
            return int(n)
    return None


def changed(gradients: Gradients, change: Callable[[Array], Array | None]) -> Mutated | None:
    """Every gradient that ``change`` applies to, changed; None where it applies to none."""
    new = {k: change(np.asarray(g)) if g is not None and np.size(g) else None for k, g in gradients.items()}
    if all(v is None for v in new.values()):
        return None
    return {k: g if new[k] is None else new[k] for k, g in gradients.items()}


class Bent:
    """An adapter whose forward or pullback misbehaves; everything else is passed on to the adapter inside."""

    def __init__(self, inner: Adapter, vjp: Callable[[Adapter, Case], tuple[Out, Pullback]]) -> None:
        self.inner = inner
        self.name = f"{inner.name} (bent)"
        self._vjp = vjp

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        return self._vjp(self.inner, case)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


def bent_pullback(inner: Adapter, change: Callable[[Pullback, Out], Gradients]) -> Bent:
    """The adapter with ``change(pullback, upstream)`` in place of ``pullback(upstream)``."""

    def vjp(adapter: Adapter, case: Case) -> tuple[Out, Pullback]:
        out, pullback = adapter.vjp(case)
        return out, lambda upstream: change(pullback, upstream)

    return Bent(inner, vjp)


def lending(case: Case, given: dict[str, Array]) -> Case:
    """A case that hands out these very arrays, without copying them."""
    lent = Case(
        name=case.name, primals=given, constants=case.constants, upstream=case.upstream, op=case.op, attrs=case.attrs,
        tags=case.tags,
    )  # fmt: skip
    object.__setattr__(lent, "thawed", lambda: given)
    return lent


def received(case: Case) -> tuple[dict[str, Array], Case]:
    """The arrays that the implementation inside will receive, and the case that hands out these very arrays."""
    given = case.thawed()
    return given, lending(case, given)


def floats(given: dict[str, Array]) -> list[Array]:
    """The differentiable arrays among those given."""
    return [v for v in given.values() if differentiable(v) and v.size]
