"""Which steps to take: from the primal's own scale, down while levels disagree, up while rounding drowns them.

Most lines are finished after one block of four steps (eight samples). A line goes on alone, a block at a time,
only while its claimed error is above what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradverify.oracles._ladder import RATIO, Slopes, slopes
from gradverify.types import Array

BLOCK = 4  #: steps per block
DOWN = 7  #: blocks below the first: to about 1e-13 of the scale
LONGEST = 1.0  #: steps are never lengthened beyond this: out there a deep network is flat, and only rounding is left
UP = 3  #: blocks above the first, for primals that are tiny against the function's own scale

#: (line indices (n,), steps (n, m)) -> (values (n, m), rounding (n, m))
Sampler = Callable[[Array, Array], tuple[Array, Array]]


def differentiate(sample: Sampler, scales: Array, *, accept: Array | float, at: Array | None = None) -> Slopes:
    """Derivatives at 0 of one function per line.

    scales   (lines,) natural size of t: the first steps are scale/8 ... scale/160
    accept   absolute error at which a line is finished (scalar or (lines,))
    at       (lines,) the number that t is added to; steps are then rounded so that ``at + t`` and ``at - t`` are exact
    Returns Slopes with (lines,) arrays; ``error`` is inf where nothing could be learned.
    """
    lines = len(scales)
    accept = np.broadcast_to(np.asarray(accept, dtype=float), (lines,))
    first = scales / 8.0
    ladders = [_Ladder(first[i]) for i in range(lines)]
    state = np.array(["down"] * lines, dtype=object)
    blocks_up, blocks_down = np.zeros(lines, int), np.zeros(lines, int)
    last = np.full(lines, np.inf)
    active = np.arange(lines)
    best: list[Slopes | None] = [None] * lines
    where = "start"
    for _ in range(DOWN + UP + 1):
        if not len(active):
            break
        steps = np.stack([ladders[i].next_steps(state[i] if where != "start" else "start") for i in active])
        if at is not None:
            ulp = np.spacing(np.abs(at[active])[:, None] + steps)
            steps = np.maximum(np.round(steps / ulp), 1.0) * ulp
        values, noise = sample(active, np.concatenate([steps, -steps], axis=1))
        for row, i in enumerate(active.tolist()):
            ladders[i].add(steps[row], values[row, :BLOCK], values[row, BLOCK:], noise[row])
        where = "go on"
        still: list[int] = []
        for group in _same_length(active, ladders):
            found = slopes(*(np.stack(columns) for columns in zip(*(ladders[i].columns() for i in group), strict=True)))
            for row, i in enumerate(group):
                best[i] = _one(found, row)
                direction = _next(found, row, accept[i], blocks_up[i], blocks_down[i], ladders[i], last[i])
                last[i] = found.error[row]
                if direction == "up":
                    blocks_up[i] += 1
                elif direction == "down":
                    blocks_down[i] += 1
                if direction:
                    state[i] = direction
                    still.append(i)
        active = np.array(still, dtype=int)
    return _join([b for b in best if b is not None])


def _next(found: Slopes, row: int, accept: float, up: int, down: int, ladder: _Ladder, last: float) -> str:
    """Where line ``row`` should look next: "up", "down" or "" when it is finished."""
    error, noise = found.error[row], found.noise[row]
    if found.kink[row]:
        # a kink may lie beside the point rather than at it: look closer until rounding would hide the jump
        size = found.upper[row] - found.lower[row]
        resolvable = ladder.rounding() / ladder.smallest() * RATIO**BLOCK < 0.02 * size
        return "down" if resolvable and down < DOWN else ""
    if ladder.restless() and error > 0.05 * abs(found.value[row]) and down < DOWN:
        return "down"  # it moves far more than this slope explains: the steps may be longer than its wavelength
    if error <= accept:
        return ""
    if np.isfinite(error) and noise > 0.1 * error:
        if up < UP and down == 0 and ladder.finite_above() and ladder.steps[0] * RATIO**BLOCK <= LONGEST:
            return "up"
        return ""
    if error > 0.5 * last and error < 1e-2 * abs(found.value[row]):
        return ""  # smaller steps brought nothing: it is noise of the function's own
    return "down" if down < DOWN else ""


class _Ladder:
    """The samples of one line, steps in decreasing order."""

    def __init__(self, first: float) -> None:
        self.first = first
        self.steps = np.zeros(0)
        self.plus = np.zeros(0)
        self.minus = np.zeros(0)
        self.noise = np.zeros(0)

    def next_steps(self, direction: str) -> Array:
        if direction == "start":
            return self.first * RATIO ** -np.arange(0.0, BLOCK)
        if direction == "up":
            return np.asarray(self.steps[0] * RATIO ** np.arange(float(BLOCK), 0.0, -1.0))
        return np.asarray(self.steps[-1] * RATIO ** -np.arange(1.0, BLOCK + 1.0))

    def add(self, steps: Array, plus: Array, minus: Array, noise: Array) -> None:
        noise = np.fmax(noise[:BLOCK], noise[BLOCK:])  # beyond the edge of a domain there is none
        above = len(self.steps) > 0 and steps[0] > self.steps[0]
        parts = [(self.steps, steps), (self.plus, plus), (self.minus, minus), (self.noise, noise)]
        self.steps, self.plus, self.minus, self.noise = (
            np.concatenate([new, old] if above else [old, new]) for old, new in parts
        )

    def columns(self) -> tuple[Array, Array, Array, Array]:
        return self.steps, self.plus, self.minus, self.noise

    def rounding(self) -> float:
        finite = self.noise[np.isfinite(self.noise)]
        return float(finite.max()) if finite.size else np.inf

    def restless(self) -> bool:
        """Whether the smallest steps still show far more change than rounding."""
        last = slice(-BLOCK, None)
        with np.errstate(invalid="ignore"):
            moved = np.maximum(np.abs(self.plus[last]), np.abs(self.minus[last]))
            return bool(np.all(moved > 1e3 * self.noise[last]))

    def smallest(self) -> float:
        return float(self.steps[-1])

    def finite_above(self) -> bool:
        return bool(np.isfinite(self.plus[0]) and np.isfinite(self.minus[0]))


def _same_length(active: Array, ladders: list[_Ladder]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for i in active:
        groups.setdefault(len(ladders[i].steps), []).append(int(i))
    return list(groups.values())


def _one(found: Slopes, row: int) -> Slopes:
    return Slopes(**{name: np.asarray(column)[row] for name, column in vars(found).items()})


def _join(rows: list[Slopes]) -> Slopes:
    return Slopes(**{name: np.array([getattr(r, name) for r in rows]) for name in vars(rows[0])})
