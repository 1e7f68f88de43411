"""The bench of one (adapter, case): what a check may ask for, every answer on private copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gradverify.adapters._pairs_of_reals import PairsOfReals
from gradverify.coarse import CAST_NOTE, TENSOR_CORES, WORTH_A_NOTE, cast_to, coarseness
from gradverify.consult import Consultation
from gradverify.errors import AdapterError
from gradverify.inputs import to_bfloat16
from gradverify.rounding import Spread, floor_of
from gradverify.sampling import Forward, quiet
from gradverify.tally import largest, stored_eps
from gradverify.types import (
    Adapter,
    Array,
    Case,
    Gradients,
    Measurement,
    Out,
    Run,
    differentiable,
    leaves,
    like,
    rng_for,
)

NARROW = 1e-10  #: unit roundoffs above this have a wider type to be compared with


@dataclass(frozen=True, kw_only=True)
class _Watched(Case):
    """A case that keeps what it handed out."""

    keep: Callable[[dict[str, Array]], None]
    source: Case

    def thawed(self) -> dict[str, Array]:
        handed = self.source.at(self.primals).thawed()
        self.keep(handed)
        return handed


class LiveBench:
    """See ``gradverify.types.Bench``.

    case     its upstream is drawn here if it has none: normal numbers, never uniform
    level    "quick", "standard" or "thorough"
    oracles  names that may be consulted, ``None`` for all
    truth    an adapter whose forward the oracles differentiate instead (a surrogate), or None
    """

    def __init__(
        self,
        adapter: Adapter,
        case: Case,
        *,
        level: str = "standard",
        seed: int = 0,
        oracles: tuple[str, ...] | None = None,
        truth: Adapter | None = None,
    ) -> None:
        self.adapter, self.level, self.seed, self.oracles = adapter, level, seed, oracles
        self.truth = truth or adapter
        rounded = getattr(adapter, "rounded", None)
        # what a narrow module is given is what its dtype holds: the truth is asked at these very values
        self.case = case if rounded is None else case.at(rounded(case.primals))
        case = self.case
        self._first: Run | None = None
        first = self.run()
        if any(np.iscomplexobj(v) for v in leaves(first.out).values()):  # of real primals, as those of an FFT
            self.adapter = PairsOfReals(adapter, frozenset())
            self.truth = PairsOfReals(truth, frozenset()) if truth is not None else self.adapter
            first = self.run()
        self.out = like(first.out, {k: np.array(v) for k, v in leaves(first.out).items()})
        self.own_upstream = case.upstream is not None  #: the user's, not drawn
        self.case = replace(case, upstream=self._upstream(case))
        self.rng = rng_for(seed, adapter.name, case.name)
        self._first = first  #: its pullback is asked once, before any other forward
        self._gradients: dict[str, Array | None] | None = None
        self._rounding: Spread | None = None
        self._coarser: float | None = None
        self._cast: float | None = None
        self._settled: tuple[Measurement, ...] | None = None
        self.consultation: Consultation | None = None
        self.explained = 0  #: failing measurements whose cause was looked for
        self.plain: tuple[Out, float] | None = None  #: the forward alone at the case, and its processor time
        self.declared = ""  #: the sentence that says why backward is not the derivative
        self.noise = 0.0  #: absolute, of every output, where the forward is known not to repeat itself exactly

    @property
    def upstream(self) -> Out:
        """The cotangent of the case."""
        assert self.case.upstream is not None  # drawn in the constructor
        return self.case.upstream

    @property
    def traits(self) -> frozenset[str]:
        """What the adapter says of its API."""
        return frozenset(getattr(self.adapter, "traits", frozenset()))

    @property
    def eps(self) -> float:
        """Unit roundoff of the dtype that the implementation computes in: the coarsest of inputs and output."""
        kinds = [v.dtype for v in self.case.primals.values()] + [np.asarray(v).dtype for v in leaves(self.out).values()]
        known = [float(np.finfo(k).eps) for k in kinds if k.kind in "fc"]
        return max([*known, stored_eps(self.adapter), self._cast_to()])

    def eps_of(self, name: str) -> float:
        """Unit roundoff of one gradient: the coarsest of its own dtype, its primal's, the output's, the storage's."""
        found = [self.case.primals[name].dtype, *(np.asarray(v).dtype for v in leaves(self.out).values())]
        gradient = self.gradients().get(name)
        if gradient is not None:
            found.append(np.asarray(gradient).dtype)
        sizes = [float(np.finfo(k).eps) for k in found if k.kind in "fc"]
        return max([*sizes, stored_eps(self.adapter), self._cast_to()])

    def _cast_to(self) -> float:
        """Unit roundoff of the narrower type that the forward casts to by itself, where its output shows that."""
        if self._cast is None:
            kinds = [v.dtype for v in (*self.case.primals.values(), *map(np.asarray, leaves(self.out).values()))]
            eps = max([stored_eps(self.adapter), *(float(np.finfo(k).eps) for k in kinds if k.kind in "fc")])
            narrower = tuple(e for e in getattr(self.adapter, "cast_to", ()) if e > eps)
            wide = Forward(self.adapter, self.case).out if narrower else self.out
            self._cast = cast_to(self.out, wide, narrower, eps)
        return self._cast

    def run(self, case: Case | None = None) -> Run:
        """A fresh forward at ``case``; ``given`` and ``constants`` are the very objects that it received."""
        self._first = None
        case = case or self.case
        handed: dict[str, Array] = {}
        constants = case.fixed()
        plain = {f.name: getattr(case, f.name) for f in fields(Case)}
        watched = _Watched(**{**plain, "constants": constants}, keep=handed.update, source=case)
        with quiet():
            out, pullback = self.adapter.vjp(watched)

        def pull(upstream: Out) -> Gradients:
            with quiet():
                return pullback(upstream)

        return Run(given=handed, constants=constants, out=out, pullback=pull)

    def gradients(self, upstream: Out | None = None) -> dict[str, Array | None]:
        """Gradients of a fresh run, by primal; those of the case's own upstream are kept."""
        if upstream is not None:
            return dict(self.run().pullback(upstream))
        if self._gradients is None:
            run, self._first = self._first or self.run(), None
            found = dict(run.pullback(_writable(self.upstream)))
            del run  # what forward was given and kept is not held beside the copies
            self._gradients = {}
            for k in list(found):
                g = found.pop(k)
                self._gradients[k] = None if g is None else np.array(g, copy=True)
        return self._gradients

    def gradients_at(self, case: Case) -> Gradients:
        """Gradients of a fresh run at another case with the same upstream."""
        return self.run(case).pullback(_writable(case.upstream if case.upstream is not None else self.upstream))

    def rounding(self, name: str, gap: Array | None = None, *, near: Array | None = None, wild: bool = False) -> Array:
        """Measured absolute rounding of the gradient of primal ``name`` (same shape); see ``rounding.Spread``."""
        if self._rounding is None:
            got = self.gradients()
            names = [k for k, g in got.items() if g is not None and differentiable(self.case.primals[k])]
            self._rounding = Spread(
                self.gradients_at,
                self.case,
                {k: got[k] for k in names},
                {k: self.eps_of(k) for k in names},
                natural={k: self._terms(k) for k in names},
                framework=str(getattr(self.adapter, "framework", "numpy")),
                rng=rng_for(self.seed, self.adapter.name, self.case.name, "rounding"),
            )
        shape = self.case.primals[name].shape
        if not differentiable(self.case.primals[name]):
            return np.zeros(shape)  # zeros in place of None: nothing is rounded
        if gap is not None and gap.shape != np.shape(np.asarray(self.gradients()[name])):
            gap = None
        measured = self._rounding.allowance(name, gap, near=near, wild=wild) * self.coarser()
        if self.coarser() > WORTH_A_NOTE:  # the kernels of the backward may be coarser still than the forward's own
            measured = np.maximum(measured, floor_of(TENSOR_CORES) * largest(np.asarray(self.gradients()[name])))
        return (
            measured
            if measured.shape == shape or measured.size != self.case.primals[name].size
            else measured.reshape(shape)
        )

    def coarser(self) -> float:
        """How many times coarser than its dtype the implementation computes, as its forward shows; see ``coarse``."""
        known = self.consultation
        if self.eps < NARROW or known is None or self.truth is not self.adapter:
            return 1.0
        if self._coarser is None:
            self._coarser = coarseness(
                lambda case: self.adapter.vjp(case)[0], self.case, self.out, known.forward.out,
                framework=str(getattr(self.adapter, "framework", "numpy")), coarsest=self.eps,
                rng=rng_for(self.seed, self.adapter.name, self.case.name, "coarseness"),
            )  # fmt: skip
        return self._coarser

    def _terms(self, name: str) -> float:
        """Magnitude that the terms of a gradient may have: |upstream| |out| / |primal|."""
        weighted = sum(
            float(np.sum(np.abs(np.asarray(u, dtype=complex) * np.asarray(leaves(self.out)[k], dtype=complex)) ** 2))
            for k, u in leaves(self.upstream).items()
        )
        x = np.abs(self.case.primals[name])
        typical = float(np.sqrt(np.mean(np.square(x, dtype=float)))) if x.size else 1.0
        return float(np.sqrt(weighted)) / (typical or 1.0)

    def settled(self) -> tuple[Measurement, ...]:
        """The gradients of the case against the oracles; cached."""
        if self._settled is None:
            got = self.gradients()
            names = [k for k, v in self.case.primals.items() if differentiable(v)]
            self.consultation = Consultation(
                self.truth,
                self.case,
                {k: got.get(k) for k in names},
                measured=self.rounding,
                coarser=self.coarser,
                gradients=self.gradients_at,
                eps={k: self.eps_of(k) for k in names},
                level=self.level,
                oracles=self.oracles,
                seed=self.seed,
            )
            self.consultation.forward.noise = self.noise
            if self.plain is not None:
                self.consultation.forward.adopt(*self.plain)
            said = (CAST_NOTE.format(self._cast),) if self._cast else ()
            self._settled = tuple(replace(m, notes=(*m.notes, *said)) for m in self.consultation.settle())
        return self._settled

    def _upstream(self, case: Case) -> Out:
        shapes = {k: np.asarray(v) for k, v in leaves(self.out).items()}
        if case.upstream is not None:
            given = {k: np.asarray(v) for k, v in leaves(case.upstream).items()}
            if {k: v.shape for k, v in given.items()} != {k: v.shape for k, v in shapes.items()}:
                said = {k or "out": v.shape for k, v in given.items()}
                want = {k or "out": v.shape for k, v in shapes.items()}
                raise AdapterError(
                    f"the upstream has shape {said}, the forward's output {want}; give one like the output"
                )
            return like(self.out, {k: given[k].astype(shapes[k].dtype) for k in shapes})
        if self.traits & {"no-upstream", "upstream-optional"} and all(v.size == 1 for v in shapes.values()):
            return like(self.out, {k: np.ones(v.shape, _float(v)) for k, v in shapes.items()})
        rng = rng_for(self.seed, case.name, "upstream")
        drawn = {k: rng.standard_normal(v.shape) for k, v in shapes.items()}
        # no entry near zero: an upstream of 0 asks nothing of its output
        drawn = {k: np.asarray(np.copysign(0.25 + np.abs(v), v), dtype=_float(shapes[k])) for k, v in drawn.items()}
        if stored_eps(self.adapter) > 1e-3:
            drawn = {k: to_bfloat16(v) for k, v in drawn.items()}  # representable in every narrow dtype
        return like(self.out, drawn)


def _float(v: Array) -> np.dtype[Any]:
    return v.dtype if v.dtype.kind in "fc" else np.dtype(float)


def _writable(upstream: Out) -> Out:
    return like(upstream, {k: np.array(v, copy=True, subok=True) for k, v in leaves(upstream).items()})
