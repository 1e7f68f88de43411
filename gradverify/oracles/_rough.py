"""Where along a direction do a gradient and the forward part: two samples a question, answered well enough to search.

The mismatch <got, v> - dphi(v) is linear in v, so that the mismatch of a part of a direction says how much of what is
wrong lies in that part. A central difference at one small step is enough to tell on which side of a cut an error lies;
what the search ends at is measured again on a full ladder.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradverify.sampling import Forward
from gradverify.types import Array

LONGEST, SHORTEST = 1 / 128, 1e-6  #: steps, in units of the direction


class Mismatch:
    """got against the forward along parts of one direction.

    got      gradients by name; tangent: the direction by name, in natural units; both flattened inside
    noise    absolute rounding of one sample of phi
    size     root mean square sum of the contributions to <got, tangent>
    """

    def __init__(
        self, forward: Forward, got: Mapping[str, Array], tangent: Mapping[str, Array], *, noise: float, size: float
    ) -> None:
        self.forward = forward
        self.tangent = {k: v.ravel() for k, v in tangent.items()}
        self.shapes = {k: v.shape for k, v in tangent.items()}
        self.parts = {k: got[k].ravel().astype(float) * self.tangent[k] for k in tangent}
        self.offsets = dict(zip(tangent, np.cumsum([0, *(v.size for v in tangent.values())]), strict=False))
        self.entries = sum(v.size for v in tangent.values())
        balanced = (3 * noise / size) ** (1 / 3) if size > 0 and np.isfinite(noise) else 0.0
        self.steps = [float(np.clip(balanced, SHORTEST, LONGEST))]
        self.noise = noise

    def of(self, where: Array) -> float:
        """Mismatch of the entries ``where``: sorted indices into all primals one after the other."""
        moved: dict[str, Array] = {}
        said = 0.0
        for name, start in self.offsets.items():
            low, high = np.searchsorted(where, [start, start + self.tangent[name].size])
            if low == high:
                continue
            index = where[low:high] - start
            part = np.zeros(self.tangent[name].size)
            part[index] = self.tangent[name][index]
            moved[name] = part.reshape(self.shapes[name])
            said += float(np.sum(self.parts[name][index]))
        values, _ = self.forward.along(moved, [s for h in self.steps for s in (h, -h)])
        slopes = (values[0::2] - values[1::2]) / (2 * np.array(self.steps))
        if len(slopes) == 1:
            return said - float(slopes[0])
        ratio = (self.steps[0] / self.steps[1]) ** 2
        return said - float(slopes[1] + (slopes[1] - slopes[0]) / (ratio - 1))

    def sharpen(self, mismatch: float) -> float:
        """The error of one answer, from what a full ladder says of the whole direction; four samples if need be."""
        everything = np.arange(self.entries)
        doubt = self._doubt(everything, mismatch)
        if not doubt < 0.1 * abs(mismatch):
            self.steps = [LONGEST, LONGEST / 2.7]
            doubt = self._doubt(everything, mismatch)
        return doubt

    def _doubt(self, everything: Array, mismatch: float) -> float:
        return 3 * abs(self.of(everything) - mismatch) + 3 * self.noise / self.steps[-1]

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
