"""The forward as a plain function of vectors: what every numerical oracle samples.

A ``Forward`` owns float64 copies of the primals (the very values that a float32 implementation was given), runs the
implementation's forward on private copies, and counts what it spent.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gradverify import directions
from gradverify.directions import Direction
from gradverify.errors import AdapterError
from gradverify.tally import norm, stored_eps, through_float32
from gradverify.types import Adapter, Array, Arrays, Case, Out, differentiable, leaves


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence floating-point warnings of user code: non-finite values are handled where they arrive."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def widened(array: Array) -> Array:
    """``array`` in float64 (complex128 if complex): the truth is computed at the same rounded values."""
    return array.astype(complex if array.dtype.kind == "c" else float)


class Widened(Mapping[str, Array]):
    """Read-only float64 copies of the primals; a large one is widened anew whenever it is asked for."""

    def __init__(self, primals: Arrays, *, wide: bool) -> None:
        self._given, self._wide = primals, wide
        self._kept: dict[str, Array] = {}

    def __len__(self) -> int:
        return len(self._given)

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __getitem__(self, name: str) -> Array:
        if name in self._kept:
            return self._kept[name]
        v = self._given[name]
        if self._wide and v.dtype.kind in "fc" and v.dtype not in (np.dtype(float), np.dtype(complex)):
            v = widened(v)
            v.flags.writeable = False
        if v.nbytes <= KEPT or v is self._given[name]:
            self._kept[name] = v
        return v


@dataclass(frozen=True, kw_only=True)
class _Handed(Case):
    """A case whose primals were made for one run: that run works on these very arrays, not on copies of them."""

    fresh: dict[str, Array]
    again: Callable[[], dict[str, Array]]

    def __post_init__(self) -> None:
        """Nothing is copied: nobody else holds these arrays."""

    def thawed(self) -> dict[str, Array]:
        """The arrays themselves, the first time; made anew for an adapter that tries a second way to call."""
        fresh = {**self.fresh} or self.again()
        self.fresh.clear()  # whoever drops what it was handed frees the memory, but for the views in ``primals``
        return {k: fresh[k] if k in fresh else np.array(v, order="K", subok=True) for k, v in self.primals.items()}


def flat(out: Out) -> Array:
    """All leaves of an output as one vector of its own, float64 or complex128."""
    if not isinstance(out, Mapping):
        whole = np.asarray(out)
        return whole.ravel().astype(complex if whole.dtype.kind == "c" else float)
    parts = [np.ravel(np.asarray(v)) for v in leaves(out).values()]
    kind = complex if any(p.dtype.kind == "c" for p in parts) else float
    return np.concatenate([p.astype(kind) for p in parts]) if parts else np.zeros(0)


KEPT = 64 << 20  #: bytes of a widened primal that are kept
#: what a case has besides its primals
PLAIN = tuple(f.name for f in fields(Case) if f.name != "primals")

BESIDE = 1 + 2.0**-9.5  #: factor of a point near the case


class Forward:
    """phi(primals) = <upstream, forward(primals)>, sampled along lines through the case.

    adapter, case   what is sampled and where; ``case.upstream`` must be given
    wide            evaluate at float64 copies of the primals (False: at their own dtype)
    """

    def __init__(self, adapter: Adapter, case: Case, *, wide: bool = True) -> None:
        if case.upstream is None:
            raise AdapterError("a Forward needs a case with its upstream")
        self.adapter = adapter
        self.wide = wide
        self.names = [k for k, v in case.primals.items() if differentiable(v)]
        self.base = Widened(case.primals, wide=wide)
        self._given = case
        self.weights = flat(case.upstream)
        self.noise = 0.0  #: absolute, per output, where the forward is known to be noisy
        self.floor: float | None = None  #: absolute noise of phi, once measured
        self.rounded: dict[str, bool] = {}  #: whether the code itself rounds a primal, once looked at
        self.evaluations = 0
        self.seconds = 0.0
        #: (primal, flat indices (n,), steps (n, s)) -> as ``along``: single entries, where they can be moved together
        self.many: Callable[[str, Array, Array], tuple[Array, Array]] | None = None
        self._origin: Array | None = None
        self._out: Out | None = None
        self._widened = False
        self._narrow: bool | None = None  #: float64 outputs that went through float32
        self._dtype: np.dtype[Any] | None = None
        self._typical: dict[str, float] = {}
        self._case: Case | None = None

    @property
    def case(self) -> Case:
        """The case with its primals widened."""
        if self._case is not None:
            return self._case
        case = self._given.at(self.base)
        if sum(v.nbytes for v in case.primals.values()) <= KEPT:
            self._case = case
        return case

    def typical(self, name: str) -> float:
        """Root mean square of a primal's finite entries, 1 for zeros."""
        if name not in self._typical:
            self._typical[name] = directions.typical(self._given.primals[name])
        return self._typical[name]

    def scales(self, name: str) -> Array:
        """Natural size of each entry of a primal: its magnitude, or that of its tensor where it is nearly zero."""
        return directions.scales_of(self._given.primals[name], self.typical(name))

    def direction(self, gradients: Mapping[str, Array], seed: Sequence[int]) -> Direction:
        """A random direction through all primals together, weighted by what ``gradients`` say of each."""
        base = {k: self._given.primals[k] for k in self.names}
        return Direction(base, gradients, seed, typical={k: self.typical(k) for k in base})

    def vector(self, changed: Mapping[str, Array] | None = None) -> Array:
        """The flattened output with some primals replaced; NaN everywhere when the forward raises there."""
        with quiet():
            return self._vector(self.case.at(changed) if changed else self.case, at_origin=changed is None)

    def _vector(self, case: Case, *, at_origin: bool = False) -> Array:
        start = time.process_time()
        try:
            wide = wide_torch(self.adapter, case) if self.wide else None
            self._widened = wide is not None
            out = evaluate(self.adapter, case) if wide is None else wide
            if self._dtype is None:
                self._out = out
                self._dtype = np.result_type(*(np.asarray(v).dtype for v in leaves(out).values()))
            result = flat(out)
        except (ArithmeticError, ValueError, AdapterError, np.linalg.LinAlgError):
            if at_origin:
                raise
            result = np.full(self.weights.shape, np.nan)
        finally:
            self.evaluations += 1
            self.seconds += time.process_time() - start
        if result.shape != self.weights.shape:
            return np.full(self.weights.shape, np.nan)
        return result

    def adopt(self, out: Out, seconds: float) -> None:
        """Take the output of a plain ``evaluate`` at the case itself for the origin, where that is what it would be."""
        same = all(self.base[k] is self._given.primals[k] for k in self.base)
        if self._origin is None and same and getattr(self.adapter, "framework", "numpy") == "numpy":
            self._out, self._origin = out, flat(out)
            self.seconds, self.evaluations = seconds, 1
            self._dtype = np.result_type(*(np.asarray(v).dtype for v in leaves(out).values()))

    @property
    def origin(self) -> Array:
        """The flattened output at the case itself, evaluated once."""
        if self._origin is None:
            with quiet():
                self._origin = self._vector(self._handed(self._widened_all), at_origin=True)
        return self._origin

    @property
    def out(self) -> Out:
        """The output at the case itself in the forward's own form."""
        _ = self.origin
        assert self._out is not None  # set by the first evaluation
        return self._out

    @property
    def eps(self) -> float:
        """Unit roundoff of the numbers that the forward returns."""
        _ = self.origin
        kind: Any = self._dtype if self._dtype is not None and self._dtype.kind in "fc" else np.dtype(float)
        stored = 0.0 if self._widened else stored_eps(self.adapter)
        if self._narrow is None:
            self._narrow = through_float32(
                self.origin, lambda: self.vector({k: self.base[k] * BESIDE for k in self.names})
            )
        return max(float(np.finfo(np.float32 if self._narrow else kind).eps), stored)

    def cost(self) -> float:
        """Seconds per evaluation so far."""
        _ = self.origin
        return self.seconds / max(1, self.evaluations)

    def noise_of(self, value: Array) -> float:
        """Absolute rounding of <upstream, value> when every output carries an ulp of its own, or the known noise."""
        rounding = self.eps * norm(self.weights * value)
        return max(rounding, self.noise * norm(self.weights)) if self.noise else rounding

    def moved(self, tangent: Mapping[str, Array], t: float) -> dict[str, Array]:
        """The primals at base + t * tangent, in arrays of their own."""
        return {k: self._sum(k, t, tangent) for k in tangent}

    def _sum(self, name: str, t: float, tangent: Mapping[str, Array]) -> Array:
        given = self._given.primals[name]
        kind = given.dtype if not self.wide else np.dtype(complex if given.dtype.kind == "c" else float)
        here = np.empty(given.shape, kind)
        if not isinstance(tangent, Direction):
            np.multiply(tangent[name], t, out=here, casting="same_kind")
            here += given
            return here
        flat_here, flat_given = here.reshape(-1), given.reshape(-1)
        for part, v in tangent.parts(name):
            np.add(flat_given[part], np.multiply(v, t), out=flat_here[part], casting="same_kind")
        return here

    def along(self, tangent: Mapping[str, Array], steps: Sequence[float]) -> tuple[Array, Array]:
        """phi(base + t * tangent) - phi(base) for each t in steps, and the rounding of each difference."""
        origin = self.origin
        least = self.noise_of(origin)
        values, noises = np.empty(len(steps)), np.empty(len(steps))
        with quiet():
            for i, t in enumerate(steps):
                here = self._vector(self._beside(tangent, t))
                values[i] = float(np.real(np.sum(self.weights * (here - origin))))
                noises[i] = max(self.noise_of(here), least)
        return values, noises

    def _beside(self, tangent: Mapping[str, Array], t: float) -> Case:
        """The case at base + t * tangent, for one run."""
        return self._handed(lambda: self.moved(tangent, t))

    def _widened_all(self) -> dict[str, Array]:
        """Every primal in an array of its own, at the precision that it is sampled in."""
        given = self._given.primals
        return {k: widened(v) if self.wide and differentiable(v) else np.array(v) for k, v in given.items()}

    def _handed(self, make: Callable[[], dict[str, Array]]) -> Case:
        """A case for one run, which is handed the very arrays that are made for it."""
        fresh = make()
        primals = {k: _read_only(fresh[k]) if k in fresh else self.base[k] for k in self._given.primals}
        plain = {f: getattr(self._given, f) for f in PLAIN}
        return _Handed(primals=primals, fresh=fresh, again=make, **plain)


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view


def wide_torch(adapter: Adapter, case: Case) -> dict[str, Array] | None:
    """The forward of torch code at float64, whatever its parameters are stored in; None where that is not offered."""
    call = getattr(adapter, "call", None)
    if call is None or getattr(adapter, "framework", "numpy") != "torch":
        return None
    import torch

    device = getattr(adapter, "device", None) or "cpu"
    tensors = {k: torch.from_numpy(v).to(device) for k, v in case.thawed().items()}
    try:
        with torch.no_grad():
            out = call(tensors, case.fixed())
    except (RuntimeError, TypeError, AttributeError, NotImplementedError):
        return None
    parts: dict[str, Any] = dict(leaves(out))
    if any(v.dtype not in (torch.float64, torch.complex128) for v in parts.values()):
        return None
    return {k: v.detach().cpu().numpy() for k, v in parts.items()}


def evaluate(adapter: Adapter, case: Case) -> Out:
    """The forward alone, by ``evaluate`` where the adapter has one."""
    forward = getattr(adapter, "evaluate", None) or (lambda given: adapter.vjp(given)[0])
    out: Out = forward(replace(case, constants=case.fixed()) if case.constants else case)
    return out
