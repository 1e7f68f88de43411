"""A random direction through many primals, made a block at a time: it costs no memory of the size of the primals.

Every entry moves by its natural size times a random sign times a random factor between a half and three halves, so that
two entries that are wrong by the same amount cannot cancel exactly, as they do half of the time with signs alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gradverify.types import Array

BLOCK = 1 << 16  #: entries worked on at once: what a cache holds
KEPT = 64 << 20  #: bytes of a direction that are kept; a longer one is made again whenever it is needed
NEARLY_ZERO = 1e-5  #: of the typical size: entries below have the typical size
DROWNED = 1e-3  #: no primal is shrunk below this part of its natural scale
#: a random byte is a sign and a factor
FACTORS = np.concatenate([np.linspace(0.5, 1.5, 128), -np.linspace(0.5, 1.5, 128)])


def typical(x: Array) -> float:
    """Root mean square of the finite entries; 1 where there is nothing but zeros."""
    total, count = 0.0, 0
    flat = x.reshape(-1)
    for part in blocks(flat.size):
        here = np.abs(flat[part]).astype(float, copy=False)
        here = here if np.isfinite(here).all() else here[np.isfinite(here)]
        with np.errstate(over="ignore"):
            total += float(np.dot(here, here)) if here.size else 0.0
        count += here.size
    if not np.isfinite(total):  # the squares overflow
        largest = float(np.max(np.abs(flat[np.isfinite(flat)])))
        return largest * typical(x / largest)
    return (total / count) ** 0.5 if total > 0 else 1.0


def scales_of(x: Array, typical: float) -> Array:
    """Natural size of each entry: its magnitude, or the typical one of its array where it is nearly zero."""
    size = np.abs(x).astype(float, copy=False)
    result: Array = np.where(size > NEARLY_ZERO * typical, size, typical)
    return result


def blocks(size: int) -> Iterator[slice]:
    """Consecutive slices of at most BLOCK entries."""
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))


class Direction(Mapping[str, Array]):
    """Random in every entry of the primals; as a mapping it gives whole arrays by name.

    base       the primals, in any floating dtype
    gradients  what the contributions of the primals are estimated from, to weight them alike: a primal with small
               gradients is not drowned by one with large gradients
    seed       integers that decide everything drawn
    """

    def __init__(
        self,
        base: Mapping[str, Array],
        gradients: Mapping[str, Array],
        seed: Sequence[int],
        *,
        typical: Mapping[str, float],
    ) -> None:
        self.base = {k: v.reshape(-1) for k, v in base.items()}
        self.shapes = {k: v.shape for k, v in base.items()}
        self.typical, self.seed = typical, tuple(seed)
        sizes = {k: self._contribution(k, gradients[k]) for k in base}
        smallest = min((s for s in sizes.values() if s > 0), default=1.0)
        self.weight = {k: max(DROWNED, smallest / s) if s > 0 else 1.0 for k, s in sizes.items()}
        self._kept: dict[str, Array] = {}
        self._keeps = 8 * sum(v.size for v in self.base.values()) <= KEPT

    def __len__(self) -> int:
        return len(self.base)

    def __iter__(self) -> Iterator[str]:
        return iter(self.base)

    def __getitem__(self, name: str) -> Array:
        if name not in self._kept:
            made = [v for _, v in self._made(name)]
            whole = made[0] if len(made) == 1 else np.concatenate([np.zeros(0), *made])
            if not self._keeps:
                return whole.reshape(self.shapes[name])
            self._kept[name] = whole
        return self._kept[name].reshape(self.shapes[name])

    @property
    def entries(self) -> int:
        return sum(v.size for v in self.base.values())

    def parts(self, name: str) -> Iterator[tuple[slice, Array]]:
        """(where in the flattened primal, the direction there), block by block."""
        if not self._keeps:
            yield from self._made(name)
            return
        whole = self[name].reshape(-1)
        for part in blocks(whole.size):
            yield part, whole[part]

    def times(self, gradients: Mapping[str, Array]) -> tuple[float, float]:
        """(<gradients, direction>, root of the sum of the squared contributions); arrays of the primals' shapes."""
        shares = self.shares(gradients).values()
        return sum(total for total, _ in shares), sum(size**2 for _, size in shares) ** 0.5

    def shares(self, gradients: Mapping[str, Array]) -> dict[str, tuple[float, float]]:
        """What each primal contributes, as ``times`` says it of all together."""
        found = {}
        for name, gradient in gradients.items():
            flat, total, squares = gradient.reshape(-1), 0.0, 0.0
            for part, v in self.parts(name):
                product = flat[part] * v
                total += float(np.sum(product.real))
                squares += float(np.vdot(product, product).real)
            found[name] = total, squares**0.5
        return found

    def length(self, name: str) -> float:
        """The sum of the magnitudes of the entries of one primal."""
        return float(sum(np.sum(np.abs(v)) for _, v in self.parts(name)))

    def _made(self, name: str) -> Iterator[tuple[slice, Array]]:
        flat, where = self.base[name], list(self.base).index(name)
        rng = np.random.Generator(np.random.PCG64([*self.seed, where]))
        for part in blocks(flat.size):
            v = scales_of(flat[part], self.typical[name])
            v *= np.take(FACTORS, rng.integers(0, 256, part.stop - part.start, np.uint8))
            v *= self.weight[name]
            yield part, v

    def _contribution(self, name: str, gradient: Array) -> float:
        """Root mean square of <gradient, direction>, what is not finite left out; 0 for one of another shape."""
        if gradient.shape != self.shapes[name]:
            return 0.0
        flat, base, total = gradient.reshape(-1), self.base[name], 0.0
        for part in blocks(flat.size):
            product = flat[part] * scales_of(base[part], self.typical[name])
            square = float(np.vdot(product, product).real)
            if not np.isfinite(square):
                product = product[np.isfinite(product)]
                square = float(np.vdot(product, product).real)
            total += square
        return total**0.5 if np.isfinite(total) else 0.0
