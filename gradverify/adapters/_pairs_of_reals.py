"""Complex primals as pairs of real numbers, so that whatever judges real gradients judges complex ones.

An array z of shape (...) is shown as one of shape (..., 2): real and imaginary part. A complex output likewise. The
gradient of a real loss L is then dL/dRe z and dL/dIm z, which torch calls the gradient of z: dL/dRe z + i dL/dIm z.
Others (HIPS autograd, JAX, d/dz by hand) return its conjugate, and take the conjugate as upstream: for NumPy code the
one that fits a difference quotient is used, and the report says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gradverify.errors import AdapterError
from gradverify.inputs import paired, whole
from gradverify.types import Adapter, Array, Case, Gradients, Out, Pullback, leaves, rng_for

HOW = "complex arrays are judged as pairs: the last index is 0 for the real part, 1 for the imaginary part; "
PLAIN = "a gradient is dL/dRe + i dL/dIm"
CONJUGATE = "a gradient is dL/dRe - i dL/dIm, and so is an upstream"
STEP, FITS = 1e-6, 1e-3  #: of the difference quotient that tells the two conventions apart


@dataclass(frozen=True, kw_only=True)
class _Whole(Case):
    """A case that hands out complex views of the very pairs that ``source`` hands out: what is written is seen."""

    source: Case
    names: frozenset[str]

    def thawed(self) -> dict[str, Array]:
        return {k: whole(v) if k in self.names else v for k, v in self.source.thawed().items()}


class PairsOfReals:
    """The adapter ``inner``, whose complex primals ``names`` are given and answered as pairs."""

    pairs = True

    def __init__(self, inner: Adapter, names: frozenset[str]) -> None:
        self._inner, self.names = inner, names
        self.name = inner.name
        self.framework = getattr(inner, "framework", "numpy")
        self._conjugate = self.framework == "jax"
        self._asked = self.framework in ("torch", "jax")
        if self.framework == "torch" and hasattr(inner, "call"):
            self.call = self._call
        for own, way in (("vjp_wrt", self._vjp_wrt), ("raw_vjp", self._raw_vjp)):
            if hasattr(inner, own):
                setattr(self, own, way)

    def __getattr__(self, name: str) -> Any:
        """What is public and says nothing of primals is the inner adapter's."""
        if name.startswith("_") or name in ("call", "evaluate_many", "again", "jvp", "prepare", "rounded", "vjp_wrt"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def notes(self) -> tuple[str, ...]:
        """The inner adapter's, and how complex numbers are read."""
        return (*getattr(self._inner, "notes", ()), HOW + (CONJUGATE if self._conjugate else PLAIN))

    def evaluate(self, case: Case) -> Out:
        """The forward alone, complex outputs as pairs."""
        forward = getattr(self._inner, "evaluate", None)
        given = self._case(case)
        return _shown(forward(given) if forward is not None else self._inner.vjp(given)[0])

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """The inner adapter's, with complex arrays as pairs on both sides."""
        if not self._asked:
            self._asked, self._conjugate = True, self._fits_conjugate(case)
        return self._around(self._inner.vjp, case)

    def _vjp_wrt(self, case: Case, names: frozenset[str]) -> tuple[Out, Pullback]:
        return self._around(lambda c: self._inner.vjp_wrt(c, names), case)  # type: ignore[attr-defined]  # asked for

    def _raw_vjp(self, case: Case) -> tuple[Out, Pullback]:
        return self._around(self._inner.raw_vjp, case)  # type: ignore[attr-defined]  # asked for in __init__

    def _around(self, vjp: Callable[[Case], tuple[Out, Pullback]], case: Case) -> tuple[Out, Pullback]:
        conjugate = self._conjugate
        out, inner = vjp(self._case(case))
        wide = {k: np.iscomplexobj(v) for k, v in leaves(out).items()}

        def pullback(upstream: Out) -> Gradients:
            shown = {k: _turned(whole(u), conjugate) if wide[k] else u for k, u in leaves(upstream).items()}
            found = inner(shown if isinstance(upstream, Mapping) else shown[""])
            return {k: self._answer(k, g, conjugate) for k, g in found.items()}

        return _shown(out), pullback

    def _answer(self, name: str, gradient: Any, conjugate: bool) -> Any:
        if gradient is None or name not in self.names:
            return gradient
        array = np.asarray(gradient)
        return paired(_turned(array, conjugate)) if array.dtype.kind == "c" else paired(array.astype(complex))

    def _case(self, case: Case) -> Case:
        plain = {f.name: getattr(case, f.name) for f in fields(Case)}
        given = {k: whole(v) if k in self.names else v for k, v in case.primals.items()}
        return _Whole(**{**plain, "primals": given}, source=case, names=self.names)

    def _call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The forward on torch tensors."""
        import torch

        given = {k: torch.view_as_complex(v.contiguous()) if k in self.names else v for k, v in primals.items()}
        out = self._inner.call(given, constants)  # type: ignore[attr-defined]  # asked for in __init__
        said: Mapping[str, Any] = leaves(out)
        parts = {k: torch.view_as_real(v) if v.is_complex() else v for k, v in said.items()}
        return parts if isinstance(out, Mapping) else parts[""]

    def _fits_conjugate(self, case: Case) -> bool:
        """Whether the conjugate of what backward returns fits a difference quotient, and the thing itself does not."""
        rng = rng_for(0, self.name, "conjugate")
        slope, plain, other = self._slopes(case, rng)
        near = FITS * max(abs(slope), 1e-30)
        return abs(other - slope) <= near < abs(plain - slope)

    def _slopes(self, case: Case, rng: np.random.Generator) -> tuple[float, float, float]:
        """Along one random direction: the difference quotient, and what backward says in either convention."""
        size = {
            k: max(1.0, float(np.max(np.abs(v), initial=0.0))) for k, v in case.primals.items() if v.dtype.kind == "f"
        }
        move = {k: STEP * s * rng.standard_normal(case.primals[k].shape) for k, s in size.items()}
        out, u = self.evaluate(case), {}
        for k, v in leaves(out).items():
            u[k] = rng.standard_normal(np.shape(v))
        ends = [
            leaves(self.evaluate(replace(case, primals={k: v + sign * move[k] if k in move else v for k, v in
                                                        case.primals.items()})))
            for sign in (1, -1)
        ]  # fmt: skip
        slope = 0.5 * sum(float(np.sum(u[k] * (ends[0][k] - ends[1][k]))) for k in u)
        said = []
        for self._conjugate in (False, True):
            try:
                got = self._around(self._inner.vjp, case)[1](u if isinstance(out, Mapping) else u[""])
            except AdapterError:
                return 0.0, 0.0, 0.0
            fitting = {k: g for k, g in got.items() if g is not None and k in move and np.shape(g) == move[k].shape}
            said.append(sum(float(np.sum(np.asarray(g) * move[k])) for k, g in fitting.items()))
        return slope, said[0], said[1]


def _turned(array: Array, conjugate: bool) -> Array:
    return np.conj(array) if conjugate else array


def _shown(out: Out) -> Out:
    if isinstance(out, Mapping):
        return {k: paired(v) if np.iscomplexobj(v) else v for k, v in out.items()}
    return paired(out) if np.iscomplexobj(out) else out
