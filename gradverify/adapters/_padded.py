"""Primals padded with NaN: entries that the forward leaves out are shown as finite numbers, and are NaN to the code.

Whatever moves such an entry moves nothing; its gradient is zero, whatever backward returned there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gradverify.types import Adapter, Array, Case, Gradients, Out, Pullback


@dataclass(frozen=True, kw_only=True)
class _Holed(Case):
    """A case that hands out what ``source`` hands out, with NaN where there is padding.

    lent  (array of ``source``, its copy that was handed out, where it is padded): what is written is carried over
    """

    source: Case
    holes: Mapping[str, Array]
    lent: list[tuple[Array, Array, Array]]

    def thawed(self) -> dict[str, Array]:
        given = self.source.thawed()
        for k, at in self.holes.items():
            if given[k].shape == at.shape:
                own = given[k]
                given[k] = np.array(own, order="K", subok=True)
                given[k][at] = np.nan
                self.lent.append((own, given[k], at))
        return given

    def written(self) -> None:
        """Carry over what the code wrote to its copies."""
        for own, copy, at in self.lent:
            if own.flags.writeable and not np.array_equal(own[~at], copy[~at]):
                own[~at] = copy[~at]


class Padded:
    """The adapter ``inner``, to which the entries ``holes`` of its primals are NaN; other shapes have none."""

    def __init__(self, inner: Adapter, holes: Mapping[str, Array]) -> None:
        self._inner, self._holes = inner, dict(holes)
        self.name = inner.name
        if hasattr(inner, "call"):
            self.call = self._call
        if hasattr(inner, "vjp_wrt"):
            self.vjp_wrt = self._vjp_wrt

    def __getattr__(self, name: str) -> Any:
        """What is public and says nothing of primals is the inner adapter's."""
        if name.startswith("_") or name in ("call", "evaluate_many", "again", "jvp", "prepare", "rounded", "raw_vjp"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def notes(self) -> tuple[str, ...]:
        """The inner adapter's, and what is left out."""
        said = ", ".join(f"{int(at.sum())} entries of {k}" for k, at in self._holes.items())
        return (*getattr(self._inner, "notes", ()), f"{said} are NaN and left out by the forward: they are not judged")

    def evaluate(self, case: Case) -> Out:
        """The forward alone."""
        forward = getattr(self._inner, "evaluate", None)
        given = self._case(case)
        out: Out = forward(given) if forward is not None else self._inner.vjp(given)[0]
        return out

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """The inner adapter's, its gradient zero where there is padding."""
        return self._around(self._inner.vjp, case)

    def _vjp_wrt(self, case: Case, names: frozenset[str]) -> tuple[Out, Pullback]:
        return self._around(lambda c: self._inner.vjp_wrt(c, names), case)  # type: ignore[attr-defined]  # asked for

    def _around(self, vjp: Callable[[Case], tuple[Out, Pullback]], case: Case) -> tuple[Out, Pullback]:
        given = self._case(case)
        out, inner = vjp(given)
        given.written()

        def pullback(upstream: Out) -> Gradients:
            found = inner(upstream)
            given.written()
            return self._without(found)

        return out, pullback

    def _without(self, gradients: Gradients) -> Gradients:
        found = dict(gradients)
        for k, at in self._holes.items():
            g = found.get(k)
            if g is not None and np.shape(g) == at.shape and np.any(np.asarray(g)[at] != 0):  # NaN != 0 too
                found[k] = np.where(at, np.zeros((), np.asarray(g).dtype), g)
        return found

    def _case(self, case: Case) -> _Holed:
        plain = {f.name: getattr(case, f.name) for f in fields(Case)}
        return _Holed(**plain, source=case, holes=self._holes, lent=[])

    def _call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The forward on foreign arrays."""
        given = dict(primals)
        for k, at in self._holes.items():
            if tuple(given[k].shape) == at.shape:
                given[k] = _holed(given[k], at)
        return self._inner.call(given, constants)  # type: ignore[attr-defined]  # asked for in __init__


def _holed(x: Any, at: Array) -> Any:
    if type(x).__module__.startswith("torch"):
        import torch

        return torch.where(torch.from_numpy(at).to(x.device), torch.full_like(x, float("nan")), x)
    return np.where(at, np.nan, x)
