"""Where along a direction do a gradient and the forward part: two samples a question, answered well enough to search.

The mismatch <got, v> - dphi(v) is linear in v, so that the mismatch of a part of a direction says how much of what is
wrong lies in that part. A central difference at one small step is enough to tell on which side of a cut an error lies;
what the search ends at is measured again on a full ladder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradverify.oracles._line import Line
from gradverify.types import Array

LONGEST = 1 / 16  #: the longest step of a question, in units of the direction
LEAST = 4  #: parts that a question must tell apart to be better than halving


class Mismatch:
    """got against the forward along parts of one direction.

    got      gradients by name; tangent: the direction by name, in natural units; both flattened inside
    line     phi along the whole direction, with the samples that it was judged by
    """

    def __init__(self, line: Line, got: Mapping[str, Array], tangent: Mapping[str, Array]) -> None:
        self.forward, self.line = line.forward, line
        self.tangent = {k: v.ravel() for k, v in tangent.items()}
        self.shapes = {k: v.shape for k, v in tangent.items()}
        self.got = {k: got[k].ravel().astype(float, copy=False) for k in tangent}
        self.offsets = dict(zip(tangent, np.cumsum([0, *(v.size for v in tangent.values())]), strict=False))
        self.entries = sum(v.size for v in tangent.values())
        self.whole = float(sum(np.dot(self.got[k], v) for k, v in self.tangent.items()))
        self.steps: list[float] = []

    def of(self, where: Array) -> float:
        """Mismatch of the entries ``where``: sorted indices into all primals one after the other."""
        moved: dict[str, Array] = {}
        for name, start in self.offsets.items():
            low, high = np.searchsorted(where, [start, start + self.tangent[name].size])
            if low == high:
                continue
            index = where[low:high] - start
            part = np.zeros(self.tangent[name].size)
            part[index] = self.tangent[name][index]
            moved[name] = part
        return self._of(moved)

    def _of(self, flat: Mapping[str, Array]) -> float:
        said = float(sum(np.dot(self.got[k], v) for k, v in flat.items()))
        moved = {k: v.reshape(self.shapes[k]) for k, v in flat.items()}
        values, _ = self.forward.along(moved, [s for h in self.steps for s in (h, -h)])
        return said - _slope(self.steps, values)

    def sharpen(self, mismatch: float) -> float:
        """Choose the steps of a question and return the error of an answer, from what is known of the whole direction.

        One step where it tells the mismatch to a hundredth, else the two that tell it best.
        """
        steps, values = self.line.pairs()
        best, doubt = steps[-1:], np.inf
        for count in (1, 2):
            for i in range(len(steps)):
                for chosen in ([steps[i]],) if count == 1 else ([steps[i], h] for h in steps[i + 1 :]):
                    if chosen[0] > LONGEST and len(steps) > count:
                        continue
                    slope = _slope(chosen, np.concatenate([values[h] for h in chosen]))
                    off = 3 * abs(self.whole - slope - mismatch) + 3 * self.line.floor / chosen[-1]
                    if off < doubt:
                        best, doubt = chosen, off
            if doubt < 0.01 * abs(mismatch):
                break
        self.steps = best
        return float(doubt)

    def single(self, mismatch: float, doubt: float) -> int | None:
        """The entry that is wrong if it is one alone; None where it is not, or the mismatch is too small to tell.

        With every entry weighted by its place the mismatch is the plain one times the place, to as many digits as it
        has: a question or a few, where halving takes one for every bit.
        """
        levels = int(abs(mismatch) / (4 * doubt)) if doubt > 0 else self.entries
        if levels < LEAST:
            return None  # a place would not come out as a whole number
        low, left = 0, self.entries
        while left > 1:
            parts = min(left, levels)
            width = -(-left // parts)
            weights = np.zeros(self.entries)
            weights[low : low + left] = (np.arange(left) // width + 1) / parts
            place = self._place(weights, mismatch, parts)
            if place is None or place * width >= left:
                return None
            low, left = low + place * width, min(width, left - place * width)
        alone = self.of(np.array([low]))
        return low if abs(alone - mismatch) <= max(2 * doubt, 1e-2 * abs(mismatch)) else None

    def slab(self, name: str, mismatch: float, doubt: float) -> Array | None:
        """A row, a column, a channel of a primal that is wrong and nothing else in it: its flat indices, or None."""
        shape, start = self.shapes[name], int(self.offsets[name])
        index = np.arange(int(np.prod(shape))).reshape(shape)
        fixed: list[int | slice] = [slice(None)] * len(shape)
        for axis, length in enumerate(shape):
            if length > 1 and 4 * length * doubt < abs(mismatch):
                weights = np.zeros(self.entries)
                along = np.arange(1.0, length + 1.0).reshape([-1 if i == axis else 1 for i in range(len(shape))])
                weights[start : start + index.size] = np.broadcast_to(along / length, shape).ravel()
                place = self._place(weights, mismatch, length)
                if place is not None:
                    fixed[axis] = place
        if all(isinstance(f, slice) for f in fixed):
            return None
        where = np.asarray(index[tuple(fixed)]).ravel()
        return where if abs(self.of(where + start) - mismatch) <= max(doubt, 1e-2 * abs(mismatch)) else None

    def largest(self, name: str, among: Array) -> int:
        """Of these entries of a primal the one that contributes most."""
        return int(among[np.argmax(np.abs(self.got[name][among] * self.tangent[name][among]))])

    def _place(self, weights: Array, mismatch: float, parts: int) -> int | None:
        """The weight of the entry that is wrong, less one, if that is a whole number from 0 to ``parts``."""
        moved = {k: self.tangent[k] * weights[s : s + self.tangent[k].size] for k, s in self.offsets.items()}
        found = parts * self._of({k: v for k, v in moved.items() if v.any()}) / mismatch - 1
        if not np.isfinite(found) or abs(found - round(found)) > 0.3 or not 0 <= round(found) < parts:
            return None
        return round(found)

    def halved(self, where: Array, mismatch: float) -> tuple[int, float]:
        """An entry that is wrong, by halving; the mismatch that led there."""
        while where.size > 1:
            half, rest = np.split(where, [where.size // 2])
            missed = self.of(half)
            if not np.isfinite(missed):
                break
            where, mismatch = (half, missed) if abs(missed) >= abs(mismatch - missed) else (rest, mismatch - missed)
        return int(where[0]), mismatch

    def extent(self, name: str, first: int, axis: int, doubt: float) -> tuple[int, int]:
        """From where to where along an axis there is a mismatch, around the entry ``first``: (start, stop)."""
        index = np.arange(self.tangent[name].size).reshape(self.shapes[name])
        at = int(np.unravel_index(first, self.shapes[name])[axis])

        def silent(low: int, high: int) -> bool:
            part = np.sort(np.take(index, np.arange(low, high), axis=axis).ravel()) + self.offsets[name]
            return abs(self.of(part)) <= doubt

        length: int = index.shape[axis]
        start, known = 0, at  # silent before start, not known to be silent before known
        if not silent(0, 1):
            known = 0
        while start < known:
            middle = (start + known + 1) // 2
            start, known = (middle, known) if silent(start, middle) else (start, middle - 1)
        stop: int = length
        least: int = at + 1
        if not silent(length - 1, length):
            least = length
        while least < stop:
            middle = (least + stop) // 2
            least, stop = (least, middle) if silent(middle, stop) else (middle + 1, stop)
        return start, stop

    def all_of(self, name: str) -> Array:
        """The indices of one primal."""
        return np.asarray(np.arange(self.tangent[name].size) + self.offsets[name])

    def place(self, entry: int) -> tuple[str, int]:
        """The primal and the flat index in it."""
        name = next(k for k in reversed(list(self.offsets)) if self.offsets[k] <= entry)
        return name, entry - int(self.offsets[name])


def _slope(steps: Sequence[float], values: Array) -> float:
    """From the samples at +-h for each step; two steps eliminate the square of the step."""
    slopes = (values[0::2] - values[1::2]) / (2 * np.array(steps))
    if len(slopes) == 1:
        return float(slopes[0])
    ratio = (steps[0] / steps[1]) ** 2
    return float(slopes[1] + (slopes[1] - slopes[0]) / (ratio - 1))
