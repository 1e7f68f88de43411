"""What is checked: functions with hand-written gradients, which every tool is then given in its own way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass
class Work:
    """A function of named arrays with hand-written gradients; counts its forwards and backwards."""

    name: str
    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[[Any, Any], dict[str, np.ndarray]]
    primals: dict[str, np.ndarray]
    plant: Callable[[dict[str, np.ndarray]], None] | None = None
    calls: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def size(self) -> int:
        return sum(v.size for v in self.primals.values())

    def value(self, **primals: np.ndarray) -> Any:
        return self.cached(**primals)[0]

    def cached(self, **primals: np.ndarray) -> tuple[Any, Any]:
        self.calls[0] += 1
        return self.forward(**primals)

    def pull(self, upstream: Any, cache: Any) -> dict[str, np.ndarray]:
        self.calls[1] += 1
        gradients = self.backward(upstream, cache)
        if self.plant is not None:
            self.plant(gradients)
        return gradients

    def planted(self, plant: Callable[[dict[str, np.ndarray]], None]) -> Work:
        return replace(self, plant=plant, calls=[0, 0])

    def flat(self) -> np.ndarray:
        return np.concatenate([v.ravel() for v in self.primals.values()])

    def unflat(self, x: np.ndarray) -> dict[str, np.ndarray]:
        ends = np.cumsum([v.size for v in self.primals.values()])[:-1]
        return {k: p.reshape(v.shape) for (k, v), p in zip(self.primals.items(), np.split(x, ends), strict=True)}

    def gradient(self, x: np.ndarray) -> np.ndarray:
        out, cache = self.cached(**self.unflat(x))
        found = self.pull(np.ones_like(out), cache)
        return np.concatenate([np.ravel(found[k]) for k in self.primals])


def mlp(name: str, sizes: tuple[int, ...], batch: int, rng: np.random.Generator) -> Work:
    """tanh layers and a squared error, mean over the batch, in float64."""
    layers = range(len(sizes) - 1)
    primals = {}
    for i in layers:
        primals[f"W{i}"] = rng.standard_normal(sizes[i : i + 2]) / np.sqrt(sizes[i])
        primals[f"b{i}"] = 0.1 * rng.standard_normal(sizes[i + 1])
    X, y = rng.standard_normal((batch, sizes[0])), rng.standard_normal((batch, sizes[-1]))

    def forward(**p):
        a = [X]
        for i in layers:
            z = a[-1] @ p[f"W{i}"] + p[f"b{i}"]
            a.append(np.tanh(z) if i < layers[-1] else z)
        r = a[-1] - y
        return 0.5 * np.sum(r * r) / batch, (a, r, p)

    def backward(upstream, cache):
        a, r, p = cache
        d, found = upstream * r / batch, {}
        for i in reversed(layers):
            found[f"W{i}"], found[f"b{i}"] = a[i].T @ d, d.sum(axis=0)
            if i:
                d = (d @ p[f"W{i}"].T) * (1 - a[i] ** 2)
        return found

    return Work(name, forward, backward, primals)


def wide_layer(name: str, n: int, rng: np.random.Generator) -> Work:
    """One float32 layer of n x n weights on four samples."""
    W = rng.standard_normal((n, n), dtype=np.float32)
    W /= np.float32(n**0.5)
    X = rng.standard_normal((4, n)).astype(np.float32)

    def forward(W):
        z = np.tanh(X @ W)
        return z.sum(), z

    return Work(name, forward, lambda upstream, z: {"W": X.T @ (upstream * (1 - z * z))}, {"W": W})


def elementwise(name: str, n: int, rng: np.random.Generator) -> Work:
    def forward(x):
        y = np.tanh(x)
        return y, y

    return Work(name, forward, lambda upstream, y: {"x": upstream * (1 - y * y)}, {"x": rng.standard_normal(n)})


def median_entry(name: str, relative: float) -> Callable[[dict[str, np.ndarray]], None]:
    """One entry of a gradient, the one of median size, wrong by a part of itself."""

    def plant(gradients):
        g = gradients[name].reshape(-1)
        g[np.argsort(np.abs(g))[g.size // 2]] *= 1 + relative

    return plant


def sign(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    def plant(gradients):
        gradients[name] *= -1

    return plant


def scenes() -> list[tuple[str, Work, Work]]:
    """(name, right, doubled) of the seven scenes of the corpus."""
    from tests.corpus import load

    items = load()
    found = []
    for name in [n for n in items if n.startswith("scenes.") and not items[n].twin]:
        twin = next(n for n in items if items[n].twin == name)
        found.append((name.removeprefix("scenes."), _of(items[name]), _of(items[twin])))
    return found


def _of(item: Any) -> Work:
    fn, primals, more = item.make()
    constants = more.get("constants", {})

    def forward(**p):
        value, gradients = fn(**p, **constants)
        return np.asarray(value), gradients

    # an upstream of dtype float64 must not widen what the implementation computed in float32
    def backward(upstream, gradients):
        return {k: np.asarray(g * np.asarray(upstream, np.asarray(g).dtype)) for k, g in gradients.items()}

    return Work(item.name, forward, backward, {k: np.asarray(v) for k, v in primals.items()})
