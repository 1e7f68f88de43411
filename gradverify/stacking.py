"""The forward at k variants of one primal in one call, where that is found to be possible and to be right.

Ways, the first that works: the adapter's own ``evaluate_many``; torch.func.vmap of torch code; NumPy code on arrays
that are k variants at once (``gradverify.batched``); a loop. A way is believed only after its answers at random
variants equalled single calls in value and shape, and every call carries the unchanged primal along, whose output
must come out as it does alone: the first deviation sends everything back to the loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from gradverify.adapters._seeds import Randomness
from gradverify.batched import Batched
from gradverify.errors import Unsupported
from gradverify.sampling import Forward, quiet
from gradverify.types import Array, Case, Out, leaves, rng_for

BUDGET = 4 << 20  #: bytes of stacked primals and of their outputs held at once: about what a cache holds
#: variants per call, the largest that the budget allows; one unchanged comes along
SIZES = (508, 502, 252, 250, 126, 112, 60, 58, 30, 28)
ROUNDINGS = 64.0  #: of the largest output, by which a stacked answer may differ from a single one
TRIALS = 6  #: random variants at which a way is tried

Way = Callable[[Case, str, Array], Out]


class Stacked:
    """Variants of one primal at a time, the other primals at the case.

    forward  what is sampled; its counters are advanced by one evaluation per variant
    budget   bytes that stacked primals and their outputs may take together; the loop holds one variant
    """

    def __init__(self, forward: Forward, *, budget: int = BUDGET) -> None:
        self.forward, self.budget = forward, budget
        self._chosen: dict[tuple[str, int], Way | None] = {}
        self._rejected: set[str] = set()

    def way(self, name: str) -> str:
        """How variants of ``name`` are evaluated: "evaluate_many", "vmap", "batched" or "loop"; tries if need be."""
        size = self._size(name, SIZES[-1])
        way = self._way(name, size) if size else None
        return _name(way) if way is not None else "loop"

    def values(self, name: str, stack: Array) -> Array:
        """(k, m) flattened outputs at ``stack`` (k, *shape); NaN where the forward raises at a variant."""
        size = self._size(name, len(stack))
        step = size or max(1, len(stack))
        found = []
        for start in range(0, len(stack), step):
            part = stack[start : start + step]
            full = self._unchanged(name, (size or len(part)) + 1)
            full[: len(part)] = part
            found.append(self._chunk(name, full, len(part), size))
        return np.concatenate(found) if found else np.empty((0, self.forward.weights.size))

    def entries(self, name: str, index: Array, value: Array) -> Iterator[tuple[slice, Array]]:
        """Outputs with one entry changed, chunk by chunk: (which of the variants, their outputs (n, m)).

        index, value  (k,) flat index of the entry and what it becomes; no stack of k whole primals is ever held
        """
        size = self._size(name, len(index))
        step = size or 1
        full = self._unchanged(name, step + 1)
        rows = full.reshape(step + 1, -1)
        for start in range(0, len(index), step):
            part = slice(start, min(start + step, len(index)))
            n = part.stop - part.start
            at = np.arange(n), index[part]
            kept = rows[at]
            rows[at] = value[part]
            yield part, self._chunk(name, full, n, size)
            rows[at] = kept

    def along(self, name: str, index: Array, steps: Array) -> tuple[Array, Array]:
        """Change of phi with single entries moved, and the rounding of each difference; both (n, s).

        index  (n,) flat indices; steps (n, s) what is added to each
        """
        forward, origin = self.forward, self.forward.origin
        base = forward.base[name].ravel()
        where = np.repeat(index, steps.shape[1])
        moved = base[where] + steps.ravel().astype(base.dtype)
        values, noises = np.empty(steps.size), np.empty(steps.size)
        weight = float(np.sqrt(np.sum(np.abs(forward.weights) ** 2)))
        floor = max(forward.noise_of(origin), forward.noise * weight)
        for part, out in self.entries(name, where, moved):
            with np.errstate(all="ignore"):
                values[part] = np.real(np.sum(forward.weights * (out - origin), axis=1))
                size = np.sqrt(np.sum(np.abs(forward.weights * out) ** 2, axis=1))
            noises[part] = np.fmax(forward.eps * size, floor)
        return values.reshape(steps.shape), noises.reshape(steps.shape)

    def _size(self, name: str, wanted: int) -> int:
        """Variants per call: 0 for the loop. Never the length of an axis, which a stack could be mistaken for."""
        per_variant = self.forward.base[name].nbytes + 8 * self.forward.weights.size
        lengths = {n for v in self.forward.base.values() for n in v.shape} | set(self.forward.weights.shape)
        for size in SIZES:
            if size < 2 * wanted and (size + 1) * per_variant <= self.budget and size + 1 not in lengths:
                return size
        return 0

    def _unchanged(self, name: str, k: int) -> Array:
        return np.repeat(self.forward.base[name][None], k, axis=0)

    def _chunk(self, name: str, full: Array, n: int, size: int) -> Array:
        """Outputs of the first ``n`` of ``full``, whose last variant is the unchanged primal."""
        way = self._way(name, size) if size else None
        if way is not None and (found := self._asked(way, name, full)) is not None:
            self.forward.evaluations += n
            return found[:n]
        return np.stack([self.forward.vector({name: v}) for v in full[:n]])

    def _asked(self, way: Way, name: str, full: Array) -> Array | None:
        """One stacked call, always of the same length for a size; None, and no more trust, where it is found wrong."""
        view = full.view()
        view.flags.writeable = False
        start = time.perf_counter()
        try:
            with quiet():
                out = _flattened(way(self.forward.case, name, view), len(full))
        except Exception:  # noqa: BLE001  (user code on foreign arrays may fail in any way: then the loop answers)
            out = np.empty(0)
        finally:
            self.forward.seconds += time.perf_counter() - start
        if out.shape != (len(full), self.forward.weights.size) or not self._equal(out[-1], self.forward.origin):
            self._rejected.add(_name(way))
            self._chosen = {k: None if w == way else w for k, w in self._chosen.items()}
            return None
        return out

    def _equal(self, stacked: Array, single: Array) -> bool:
        finite = np.isfinite(single)
        size = float(np.max(np.abs(single[finite]), initial=0.0))
        with np.errstate(all="ignore"):
            close = np.abs(stacked - single) <= ROUNDINGS * self.forward.eps * size
        return bool(np.all(close | (stacked == single) | (np.isnan(stacked) & np.isnan(single))))

    def _way(self, name: str, size: int) -> Way | None:
        if (name, size) not in self._chosen:
            self._chosen[name, size] = None
            trials = self._trials(name, size)
            singles = None
            for way in self._candidates():
                if _name(way) in self._rejected or (found := self._asked(way, name, trials)) is None:
                    continue
                if singles is None:
                    singles = np.stack([self.forward.vector({name: trials[i]}) for i in _picked(size)])
                if all(self._equal(found[i], s) for i, s in zip(_picked(size), singles, strict=True)):
                    self._chosen[name, size] = way
                    break
        return self._chosen[name, size]

    def _trials(self, name: str, size: int) -> Array:
        """Every variant a different point: all entries moved, or one of them."""
        base = self.forward.base[name]
        rng = rng_for(0, self.forward.case.name, "stacking", name)
        stack = self._unchanged(name, size + 1)
        rows = stack[:size].reshape(size, -1)
        half = size // 2
        rows[:half] *= 1 + 0.1 * rng.uniform(-1, 1, (half, base.size))
        rows[np.arange(half, size), rng.integers(0, base.size, size - half)] *= 1.01
        rows[-1, -1] += 0.01 * (np.abs(rows[-1, -1]) or 1.0)
        return stack

    def _candidates(self) -> list[Way]:
        adapter = self.forward.adapter
        ways: list[Way] = []
        if hasattr(adapter, "evaluate_many"):
            ways.append(self._evaluate_many)
        if hasattr(adapter, "call"):
            ways.append(self._vmap if getattr(adapter, "framework", "numpy") == "torch" else self._batched)
        return ways

    # --- the ways ---------------------------------------------------------------------------------------------

    def _evaluate_many(self, case: Case, name: str, stack: Array) -> Out:
        return self.forward.adapter.evaluate_many(case, {name: stack})  # type: ignore[attr-defined, no-any-return]  # optional member

    def _batched(self, case: Case, name: str, stack: Array) -> Out:
        others = {k: v.copy() for k, v in case.primals.items() if k != name}
        given: dict[str, Any] = {k: Batched(stack) if k == name else others[k] for k in case.primals}
        with Randomness().forward():
            out = self._call(given, case.fixed())
        return {k: _data(v, len(stack)) for k, v in (out if isinstance(out, Mapping) else {"": out}).items()}

    def _vmap(self, case: Case, name: str, stack: Array) -> Out:
        import torch

        device = getattr(self.forward.adapter, "device", None)
        others = {k: torch.tensor(v, device=device) for k, v in case.primals.items() if k != name}

        def one(variant: Any) -> Any:
            return self._call({k: variant if k == name else others[k] for k in case.primals}, case.fixed())

        with torch.no_grad():
            out = torch.func.vmap(one)(torch.tensor(stack, device=device))
        return {k: np.asarray(v.cpu().numpy()) for k, v in (out if isinstance(out, Mapping) else {"": out}).items()}

    def _call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        return self.forward.adapter.call(primals, constants)  # type: ignore[attr-defined]  # optional member, asked for


def _name(way: Way) -> str:
    return getattr(way, "__name__", "").lstrip("_")


def _picked(size: int) -> list[int]:
    """Where the trials are compared with single calls: both ends and points between."""
    return sorted({0, 1, size - 1, *(int(i) for i in np.linspace(2, size - 2, TRIALS - 3))})


def _flattened(out: Out, k: int) -> Array:
    """All leaves of a stacked output as rows, like ``sampling.flat`` of each."""
    parts = [np.asarray(v) for v in leaves(out).values()]
    if any(p.shape[:1] != (k,) for p in parts):
        raise Unsupported("an output without the leading axis")
    return np.concatenate([p.reshape(k, -1) for p in parts], axis=1) if parts else np.zeros((k, 0))


def _data(value: Any, k: int) -> Array:
    """The stack within an output; what does not depend on the changed primal is the same for every variant."""
    if isinstance(value, Batched):
        return value.data
    plain = np.asarray(value)
    return np.broadcast_to(plain, (k, *plain.shape))
