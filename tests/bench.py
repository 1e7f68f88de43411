"""A small Bench over plain NumPy functions: what the tests of checks, mutants and causes run on.

``forward(**primals, **constants) -> (out, cache)`` and ``backward(upstream, cache) -> {name: gradient}``.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gradverify.bench import LiveBench
from gradverify.errors import Unsupported
from gradverify.types import Adapter, Array, Arrays, Case, Measurement, Out, Run, differentiable, leaves, like, rng_for


class Pair:
    """The adapter of two functions; a stateful object can stand behind ``forward`` and ``backward``."""

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any], traits: frozenset[str] = frozenset()):
        self.name = "pair"
        self.forward = forward
        self.backward = backward
        self.traits = traits

    def vjp(self, case: Case) -> tuple[Out, Callable[[Out], Any]]:
        out, cache = self.forward(**case.thawed(), **case.constants)
        return out, lambda upstream: self.backward(upstream, cache)


@dataclass
class NumpyBench:
    """``gradverify.types.Bench`` in its shortest form."""

    adapter: Adapter
    case: Case
    seed: int = 0
    eps: float = field(init=False)
    rng: np.random.Generator = field(init=False)
    _rounding: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = rng_for(self.seed, "bench")
        out = self.run().out
        kinds = [np.asarray(v).dtype for v in leaves(out).values()]
        self.eps = float(max((np.finfo(k).eps for k in kinds if k.kind in "fc"), default=np.finfo(float).eps))
        if self.case.upstream is None:
            drawn = {
                k: np.asarray(self.rng.standard_normal(np.shape(v)), dtype=np.asarray(v).dtype)
                for k, v in leaves(out).items()
            }
            self.case = replace(self.case, upstream=like(out, drawn))

    @property
    def upstream(self) -> Out:
        assert self.case.upstream is not None
        return self.case.upstream

    def run(self, case: Case | None = None) -> Run:
        case = case or self.case
        given = case.thawed()
        constants = copy.deepcopy(dict(case.constants))
        lent = replace(case, constants=constants)
        object.__setattr__(lent, "thawed", lambda: given)
        adapter = copy.deepcopy(self.adapter)
        out, pullback = adapter.vjp(lent)
        return Run(given=given, constants=constants, out=out, pullback=pullback)

    def gradients(self, upstream: Out | None = None) -> dict[str, Array | None]:
        u = self.upstream if upstream is None else upstream
        return dict(self.run().pullback(like(u, {k: np.array(v) for k, v in leaves(u).items()})))

    def rounding(self, name: str) -> Array:
        """How far the gradient moves when every input moves by one rounding (three draws); at least 16 roundings."""
        if not self._rounding:
            base = self.gradients()
            worst = {
                k: np.full(np.shape(g), 16 * self.eps * np.max(np.abs(g), initial=0.0))
                for k, g in base.items()
                if g is not None
            }
            for _ in range(3):
                moved = self.case.at({k: self._jitter(v) for k, v in self.case.primals.items() if differentiable(v)})
                for k, g in self.run(moved).pullback(self._jittered()).items():
                    if k in worst and np.shape(g) == worst[k].shape:
                        with np.errstate(invalid="ignore"):
                            worst[k] = np.fmax(worst[k], np.abs(g - base[k]))
            self._rounding = worst
        return self._rounding[name]

    def _jitter(self, v: Array) -> Array:
        return np.asarray(v * (1 + self.eps * self.rng.choice([-1, 1], np.shape(v))), dtype=v.dtype)

    def _jittered(self) -> Out:
        return like(self.upstream, {k: self._jitter(np.asarray(v)) for k, v in leaves(self.upstream).items()})


def wrong(measurements: Iterator[Measurement]) -> list[Measurement]:
    """The measurements that a judge would fail: not (gap <= error + rounding). Unsupported ends them: nothing more."""
    found = []
    for m in supported(measurements):
        got, want = np.asarray(m.got), m.want.value
        assert np.all(np.isfinite(want)), f"{m.of} wants {want}"
        assert m.want.value.size, f"{m.of} compares nothing"
        if got.shape != want.shape or not np.all((np.abs(got - want) <= m.want.error + m.rounding) | _between(m)):
            found.append(m)
    return found


def _between(m: Measurement) -> Any:
    """Whether an entry lies between the one-sided derivatives of a kink."""
    if m.lower is None or m.upper is None:
        return False
    return (np.asarray(m.got) >= m.lower) & (np.asarray(m.got) <= m.upper)


def lively(adapter: Adapter, case: Case) -> LiveBench:
    """The real bench at the same point, its value settled as a run does before most checks."""
    live = LiveBench(adapter, case)
    live.settled()
    return live


def supported(measurements: Iterator[Measurement]) -> Iterator[Measurement]:
    """The measurements up to where the check says that it cannot go on here."""
    with contextlib.suppress(Unsupported):
        yield from measurements


def bench(
    forward: Any, backward: Any, primals: Arrays, *, seed: int = 0, traits: tuple[str, ...] = (), **case: Any
) -> NumpyBench:
    """A bench over two functions at ``primals``; further keywords go to the Case."""
    return NumpyBench(Pair(forward, backward, frozenset(traits)), Case(name="test", primals=primals, **case))
