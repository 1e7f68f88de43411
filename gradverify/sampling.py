"""The forward as a plain function of vectors: what every numerical oracle samples.

A ``Forward`` owns float64 copies of the primals (the very values that a float32 implementation was given), runs the
implementation's forward on private copies, and counts what it spent.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradverify.errors import AdapterError
from gradverify.types import Adapter, Array, Case, Out, differentiable, leaves


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence floating-point warnings of user code: non-finite values are handled where they arrive."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def widened(array: Array) -> Array:
    """``array`` in float64 (complex128 if complex): the truth is computed at the same rounded values."""
    return array.astype(complex if array.dtype.kind == "c" else float)


def flat(out: Out) -> Array:
    """All leaves of an output as one vector, float64 or complex128."""
    parts = [np.ravel(np.asarray(v)) for v in leaves(out).values()]
    kind = complex if any(p.dtype.kind == "c" for p in parts) else float
    return np.concatenate([p.astype(kind) for p in parts]) if parts else np.zeros(0)


#: spacing of 1.0 in storage dtypes that an adapter may compute in whatever NumPy says of its arrays
STORAGE_EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23, "float64": 2.0**-52}


def stored_eps(adapter: Adapter) -> float:
    """Unit roundoff of the adapter's own storage dtype, 0 where it names none."""
    return STORAGE_EPS.get(str(getattr(adapter, "dtype", None) or "").removeprefix("torch."), 0.0)


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
        self.base: dict[str, Array] = {
            k: widened(v) if wide and differentiable(v) else np.array(v) for k, v in case.primals.items()
        }
        self.case = case.at(self.base)
        self.weights = flat(case.upstream)
        self.noise = 0.0  #: absolute, per output, where the forward is known to be noisy
        self.floor: float | None = None  #: absolute noise of phi, once measured
        self.evaluations = 0
        self.seconds = 0.0
        self._origin: Array | None = None
        self._out: Out | None = None
        self._widened = False
        self._dtype: np.dtype[Any] | None = None

    def vector(self, changed: Mapping[str, Array] | None = None) -> Array:
        """The flattened output with some primals replaced; NaN everywhere when the forward raises there."""
        case = self.case.at(changed) if changed else self.case
        start = time.process_time()
        try:
            with quiet():
                wide = wide_torch(self.adapter, case) if self.wide else None
                self._widened = wide is not None
                out = evaluate(self.adapter, case) if wide is None else wide
            if self._dtype is None:
                self._out = out
                self._dtype = np.result_type(*(np.asarray(v).dtype for v in leaves(out).values()))
            result = flat(out)
        except (ArithmeticError, ValueError, AdapterError, np.linalg.LinAlgError):
            if changed is None:
                raise
            result = np.full(self.weights.shape, np.nan)
        finally:
            self.evaluations += 1
            self.seconds += time.process_time() - start
        if result.shape != self.weights.shape:
            return np.full(self.weights.shape, np.nan)
        return result

    @property
    def origin(self) -> Array:
        """The flattened output at the case itself, evaluated once."""
        if self._origin is None:
            self._origin = self.vector()
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
        return max(float(np.finfo(kind).eps), stored)

    def cost(self) -> float:
        """Seconds per evaluation so far."""
        _ = self.origin
        return self.seconds / max(1, self.evaluations)

    def noise_of(self, value: Array) -> float:
        """Absolute rounding of <upstream, value> when every output carries an ulp of its own, or the known noise."""
        weighted = self.weights * value
        rounding = self.eps * float(np.sqrt(np.sum(np.abs(weighted) ** 2)))
        return max(rounding, self.noise * float(np.sqrt(np.sum(np.abs(self.weights) ** 2))))

    def moved(self, tangent: Mapping[str, Array], t: float) -> dict[str, Array]:
        """The primals at base + t * tangent."""
        return {k: self._sum(k, t, v) for k, v in tangent.items()}

    def _sum(self, name: str, t: float, v: Array) -> Array:
        base = self.base[name]
        here = np.empty(base.shape, base.dtype)
        np.multiply(v, t, out=here, casting="same_kind")
        here += base
        here.flags.writeable = False  # fresh and private: a case takes it as it is
        return here

    def along(self, tangent: Mapping[str, Array], steps: Sequence[float]) -> tuple[Array, Array]:
        """phi(base + t * tangent) - phi(base) for each t in steps, and the rounding of each difference."""
        origin = self.origin
        values, noises = np.empty(len(steps)), np.empty(len(steps))
        for i, t in enumerate(steps):
            here = self.vector(self.moved(tangent, t))
            with np.errstate(all="ignore"):
                values[i] = float(np.real(np.sum(self.weights * (here - origin))))
                noises[i] = max(self.noise_of(here), self.noise_of(origin))
        return values, noises


def wide_torch(adapter: Adapter, case: Case) -> dict[str, Array] | None:
    """The forward of torch code at float64, whatever its parameters are stored in; None where that is not offered."""
    call = getattr(adapter, "call", None)
    if call is None or getattr(adapter, "framework", "numpy") != "torch":
        return None
    import torch

    device = getattr(adapter, "device", None) or "cpu"
    tensors = {k: torch.tensor(np.array(v), device=device) for k, v in case.primals.items()}
    try:
        with torch.no_grad():
            out = call(tensors, case.constants)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError):
        return None
    parts: dict[str, Any] = dict(leaves(out))
    if any(v.dtype not in (torch.float64, torch.complex128) for v in parts.values()):
        return None
    return {k: v.detach().cpu().numpy() for k, v in parts.items()}


def evaluate(adapter: Adapter, case: Case) -> Out:
    """The forward alone, by ``evaluate`` where the adapter has one."""
    forward = getattr(adapter, "evaluate", None)
    out: Out = forward(case) if forward is not None else adapter.vjp(case)[0]
    return out
