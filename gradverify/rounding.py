"""How much of a gradient is rounding: the implementation is run again with every operation rounded differently.

Monte Carlo arithmetic (Parker 1997, "Monte Carlo arithmetic: exploiting randomness in floating-point arithmetic"):
each floating-point result r of an array operation becomes r (1 + eps xi), xi uniform in
[-1, 1] (a whole spacing, so that rounding back rarely undoes it); the inputs too. The
spread of the gradients over a few runs is what its digits are worth at this point, including cancellation inside the
backward (s (1 - s) of a saturated sigmoid) that no perturbation of the inputs would show.

A spread that does not grow with the size of the perturbation is not rounding: a comparison flipped (a kink), a cast
to a shorter type swallowed it, or the implementation draws numbers. Such entries get no allowance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify.errors import Unsupported
from gradverify.jumps import jumps, spread_of
from gradverify.sampling import Forward, quiet
from gradverify.types import Array, Case, Estimate, Gradients, differentiable, leaves, like

RUNS = 5
MORE_RUNS = 10  #: where a difference is left that is near its allowance: five runs of one number may all be too small
LARGE_RUNS = 2
MORE_LARGE_RUNS = 4  #: where two of them say of an entry that it jumps: both may be small by chance
LARGER = 32.0  #: the size of the perturbation that tells rounding from a jump
HOPELESS = 1e9  #: roundings of a sum that no cancellation in a backward reaches
BORDERLINE = 8.0  #: allowances within which a difference asks for more runs
CLEAR = 1e3  #: allowances that a difference must exceed to be no rounding after one run
COVER = 3.0  #: allowance over the largest spread seen


def floor_of(eps: float) -> float:
    """What is always allowed, relative to a tensor's largest entry: 16 roundings, fewer where one rounding is much."""
    return min(16.0 * eps, max(2.0 * eps, 2e-3))


#: results of these are exact (or no rounding of anything), and noise would break ties that really are ties
EXACT = frozenset(
    "negative positive absolute fabs sign maximum minimum fmax fmin floor ceil rint trunc copysign conjugate "
    "isnan isinf isfinite signbit logical_not ldexp".split()
)


class Noisy(np.ndarray):
    """An array whose floating-point operations round at random; ``noise`` says how."""

    amplitude = 1.0
    coarsest = 1.0
    rng = np.random.default_rng(0)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        plain = [_plain(x) for x in inputs]
        if "where" in kwargs:
            kwargs["where"] = _plain(kwargs["where"])
        if out is not None:
            kwargs["out"] = tuple(_plain(x) for x in out)
        result = getattr(ufunc, method)(*plain, **kwargs)
        if method == "at":
            return None
        if ufunc.__name__ not in EXACT:
            if out is not None:
                for x in kwargs["out"]:
                    if isinstance(x, np.ndarray):
                        perturb(x)
                return out[0] if len(out) == 1 else out
            result = tuple(map(_noisy, result)) if isinstance(result, tuple) else _noisy(result)
        elif out is not None:
            return out[0] if len(out) == 1 else out
        elif isinstance(result, np.ndarray):
            result = result.view(Noisy)
        return result

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = super().__array_function__(func, types, args, kwargs)
        if getattr(func, "__name__", "") in {"dot", "einsum", "inner", "vdot"}:
            return _noisy(_plain(result))
        return result


def _plain(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, Noisy) else x


def _spacing(dtype: np.dtype[Any]) -> float:
    return min(float(np.finfo(dtype).eps), Noisy.coarsest) * Noisy.amplitude


def perturb(x: Array, rng: np.random.Generator | None = None) -> None:
    """One random rounding of every entry, in place."""
    if x.dtype.kind in "fc" and x.size:
        eps = _spacing(x.dtype)
        x *= (1.0 + eps * (rng or Noisy.rng).uniform(-1, 1, x.shape)).astype(x.real.dtype)


def _noisy(result: Any) -> Any:
    if isinstance(result, np.generic) and result.dtype.kind in "fc":
        scalar: Any = result
        return type(scalar)(scalar * (1.0 + _spacing(scalar.dtype) * Noisy.rng.uniform(-1, 1)))
    if isinstance(result, np.ndarray) and result.dtype.kind in "fc":
        own = result if result.base is None and result.flags.writeable else result.copy()
        perturb(own)
        return own.view(Noisy)
    return result


@contextlib.contextmanager
def noise(rng: np.random.Generator, amplitude: float, framework: str, coarsest: float = 1.0) -> Iterator[None]:
    """Round at random inside: ``Noisy`` arrays by themselves, torch operations through a dispatch mode.

    coarsest  no operation is rounded more than this: float32 inside code that says float64 is no rounding of float64
    """
    before = Noisy.rng, Noisy.amplitude, Noisy.coarsest
    Noisy.rng, Noisy.amplitude, Noisy.coarsest = rng, amplitude, coarsest
    try:
        if framework == "torch":
            from gradverify._torch_noise import TorchNoise

            with TorchNoise(int(rng.integers(2**31)), amplitude, coarsest):
                yield
        else:
            yield
    finally:
        Noisy.rng, Noisy.amplitude, Noisy.coarsest = before


class Spread:
    """The gradients of a few runs with random rounding, run as they are needed.

    gradients  (case) -> gradients of a fresh implementation there
    eps        unit roundoff of each gradient
    natural    magnitude of the terms that each gradient is summed from: a spread of a few roundings of these is
               rounding whatever it does
    """

    def __init__(
        self,
        gradients: Callable[[Case], Gradients],
        case: Case,
        got: Gradients,
        eps: Mapping[str, float],
        *,
        natural: Mapping[str, float],
        framework: str,
        rng: np.random.Generator,
    ) -> None:
        self._gradients, self._case, self._framework, self._rng = gradients, case, framework, rng
        self._eps, self._natural = eps, natural
        self._given = {k: np.asarray(g) for k, g in got.items() if g is not None}
        self._small = {k: np.zeros(g.shape) for k, g in self._given.items()}
        self._large = {k: np.zeros(g.shape) for k, g in self._given.items()}
        self._left = [*(1.0,) * RUNS, *(LARGER,) * LARGE_RUNS]
        self._sure, self._certain = False, False  #: whether more runs were made, and more with large perturbations
        self._base: Gradients | None = None
        self._known: dict[str, Array] = {}

    def allowance(self, name: str, gap: Array | None = None, *, near: Array | None = None, wild: bool = False) -> Array:
        """Absolute allowance for the rounding of a gradient, per entry.

        gap   differences that it is to explain: where one run shows that it explains them by no means, one run is all
        near  the same: where they are a little more than is allowed, more runs are made
        wild  every entry what it was seen to move by, no more and no less: jumps too, and little where it moved little
        """
        if wild:
            return np.asarray(COVER * self._small[name] + self._seen(name)[2])
        if self._left and gap is not None:
            if len(self._left) == RUNS + LARGE_RUNS:
                self._run()
            allowed = self._allowed(name)
            if np.any(gap > CLEAR * allowed):
                return allowed
        while self._left:
            self._run()
        if not self._certain and jumps(*self._seen(name)).any():
            self._certain = True
            self._more(LARGER, MORE_LARGE_RUNS)
        if near is not None and not self._sure and self._borderline(name, near):
            self._sure = True
            self._more(1.0, MORE_RUNS)
        if name not in self._known:
            self._known[name] = self._allowed(name)
        return self._known[name]

    def _more(self, amplitude: float, runs: int) -> None:
        self._known.clear()
        self._left = [amplitude] * runs
        while self._left:
            self._run()

    def _borderline(self, name: str, gap: Array) -> bool:
        """Whether a difference is left that a few more runs may explain.

        All small runs of an entry may be small by chance, or nothing where a rounding is not a whole spacing.
        """
        allowed = self._allowed(name)
        if np.shape(gap) != allowed.shape or not np.any(gap > allowed):
            return False
        reach = np.maximum(allowed, COVER * self._large[name] / LARGER)
        return not np.any(gap > BORDERLINE * reach)

    def _allowed(self, name: str) -> Array:
        small, large, floor, quantum = self._seen(name)
        allowed: Array = COVER * spread_of(small, large, floor, quantum) + floor
        return allowed

    def _seen(self, name: str) -> tuple[Array, Array, float, float]:
        eps, given = self._eps[name], np.abs(self._given[name])
        floor = floor_of(eps) * float(np.max(given, initial=0.0, where=np.isfinite(given)))
        return self._small[name], self._large[name], floor, eps * self._natural[name]

    def _run(self) -> None:
        amplitude = self._left.pop(0)
        seen = self._small if amplitude == 1.0 else self._large
        with quiet():
            if self._base is None:
                base = self._gradients(self._case)  # not ``got``: what differs from run to run is state, not rounding
                self._base = {k: None if g is None else np.array(g) for k, g in base.items()}
            try:
                with noise(self._rng, amplitude, self._framework, max(self._eps.values(), default=1.0)):
                    again = self._gradients(jittered(self._case, self._framework))
            except Exception:  # noqa: BLE001  (user code on an ndarray subclass may fail in any way: nothing is learned)
                return
        for k, given in self._given.items():
            g, b = again.get(k), self._base.get(k)
            if g is not None and b is not None and np.shape(g) == np.shape(b) == given.shape:
                with np.errstate(all="ignore"):
                    kind = complex if np.iscomplexobj(g) or np.iscomplexobj(b) else float
                    spread = np.abs(np.asarray(g, dtype=kind) - np.asarray(b, dtype=kind))
                seen[k] = np.fmax(seen[k], np.where(np.isfinite(spread), spread, 0.0))


def of_forward(forward: Forward, rng: np.random.Generator) -> float:
    """Rounding of phi = <upstream, forward> at the case, by running the forward with random rounding; 0 if it fails.

    A loss of 1e-13 computed from logits of 30 carries the rounding of the logits, which its own size does not show.
    """
    torch_code = getattr(forward.adapter, "framework", "numpy") == "torch"
    changed = {} if torch_code else {k: v.view(Noisy) for k, v in forward.base.items() if k in forward.names}
    spreads = []
    for _ in range(RUNS):
        with noise(rng, 1.0, "torch" if torch_code else "numpy"):
            there = forward.vector(changed or None)
        with np.errstate(all="ignore"):
            spreads.append(float(np.sqrt(np.nansum(np.abs(forward.weights * (there - forward.origin)) ** 2))))
    return max((s for s in spreads if np.isfinite(s)), default=0.0)


def of_oracle(
    gradients: Callable[[Case], Mapping[str, Estimate]],
    case: Case,
    rng: np.random.Generator,
    runs: int = RUNS,
    natural: Mapping[str, float] | None = None,
) -> dict[str, Array]:
    """Absolute rounding of an autodiff's gradients, by running it with random rounding; empty where that fails.

    NaN where it jumps: the derivative is not the same within one rounding of the inputs.
    """
    try:
        with quiet():
            base = gradients(case)
            spread = {k: np.zeros(e.value.shape) for k, e in base.items()}
            for _ in range(runs):
                with noise(rng, 1.0, "torch"):
                    again = gradients(jittered(case, "torch"))
                for k, e in again.items():
                    apart = np.abs(e.value - base[k].value)
                    spread[k] = np.fmax(spread[k], np.where(np.isfinite(apart), apart, 0.0))
    except Unsupported:
        return {}
    # a gradient that is zero because everything is saturated has the terms of its size all the same
    sizes = {k: max(float(np.max(np.abs(base[k].value), initial=0.0)), (natural or {}).get(k, 0.0)) for k in spread}
    limits = {k: np.sqrt(np.finfo(float).eps) * size for k, size in sizes.items()}
    # a spread as large as the square root of eps is a comparison that flipped, not rounding
    return {k: COVER * np.where(s > limits[k], np.nan, s) for k, s in spread.items()}


def jittered(case: Case, framework: str) -> Case:
    """The case with its float inputs and its upstream rounded at random; NumPy arrays as ``Noisy``."""

    def move(x: Any, rng: np.random.Generator | None = None) -> Any:
        if not isinstance(x, np.ndarray) or not differentiable(x):
            return x
        copy = np.array(x, copy=True, order="K")
        perturb(copy, rng)
        return copy if framework == "torch" else copy.view(Noisy)

    moved = case.at({k: move(v) for k, v in case.primals.items()})
    if case.upstream is None:
        return moved
    apart = Noisy.rng.spawn(1)[0]  # what the operations draw does not depend on the upstream
    above = {k: move(v, apart) for k, v in leaves(case.upstream).items()}
    return replace(moved, upstream=like(case.upstream, above))
