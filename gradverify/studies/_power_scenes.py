"""Right implementations to plant bugs into: each has what some bug needs to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.types import Adapter, Array, Case, rng_for

#: name -> (batch, width, hidden width) of a residual block: tiny cannot tell a mean from a sum, large needs probes
SIZES = {
    "tiny": (1, 2, 3),
    "square": (6, 6, 6),
    "small": (5, 3, 4),
    "medium": (32, 24, 16),
    "large": (64, 160, 96),
}


def block(size: str, seed: int) -> tuple[Adapter, Case]:
    """A residual block in plain NumPy: smooth, several layers, an output as large as its input; complex arrays pass."""
    B, n, m = SIZES[size]
    rng = rng_for(seed, "power", size)
    primals = {
        "X": rng.standard_normal((B, n)), "W1": rng.standard_normal((m, n)) / np.sqrt(n), "b1": rng.standard_normal(m),
        "W2": rng.standard_normal((n, m)) / np.sqrt(m), "b2": rng.standard_normal(n),
    }  # fmt: skip

    def forward(X: Array, W1: Array, b1: Array, W2: Array, b2: Array) -> Any:
        a = np.tanh(X @ W1.T + b1)
        return X + a @ W2.T + b2, (X, W1, W2, a)

    def backward(upstream: Array, cache: Any) -> Any:
        X, W1, W2, a = cache
        delta = (upstream @ W2) * (1 - a * a)
        return {"X": upstream + delta @ W1, "W1": delta.T @ X, "b1": delta.sum(axis=0), "W2": upstream.T @ a,
                "b2": upstream.sum(axis=0)}  # fmt: skip

    case = Case(name=f"residual_block/{size}", op="residual_block", primals=primals, attrs={"sigma": "tanh"})
    return _functions(forward, backward), case


def _affine(rng: np.random.Generator) -> tuple[Adapter, Case]:
    def forward(x: Array, W: Array, b: Array) -> Any:
        return x @ W.T + b, (x, W)

    def backward(upstream: Array, cache: Any) -> Any:
        x, W = cache
        return {"x": upstream @ W, "W": upstream.T @ x, "b": upstream.sum(axis=0)}

    primals = {"x": rng.standard_normal((5, 3)), "W": rng.standard_normal((4, 3)), "b": rng.standard_normal(4)}
    # the batch may shrink to one sample or none, and the widths to one
    attrs = {"batch_axis": {"x": 0}, "axes": {"n_in": {"x": 1, "W": 1}, "n_out": {"W": 0, "b": 0}}}
    return _functions(forward, backward), Case(name="affine", primals=primals, attrs=attrs)


def _one_sample(rng: np.random.Generator) -> tuple[Adapter, Case]:
    adapter, case = _affine(rng)
    return adapter, Case(name="affine, one sample", primals={**case.primals, "x": case.primals["x"][:1]})


def _add(rng: np.random.Generator) -> tuple[Adapter, Case]:
    def forward(a: Array, b: Array) -> Any:
        return a + b, None

    def backward(upstream: Array, cache: Any) -> Any:
        return {"a": upstream.copy(), "b": upstream.copy()}

    return _functions(forward, backward), Case(
        name="add", primals={"a": rng.standard_normal((4, 3)), "b": rng.standard_normal((4, 3))}
    )


def _embedding(rng: np.random.Generator) -> tuple[Adapter, Case]:
    case = Case(
        name="embedding",
        op="embedding",
        primals={"table": rng.standard_normal((6, 3)), "indices": np.array([0, 2, 2, 5])},
    )
    return registry.adapter["reference"].item("embedding"), case


def _masked(rng: np.random.Generator) -> tuple[Adapter, Case]:
    def forward(x: Array, W: Array, mask: Array) -> Any:
        z = x @ W.T
        return np.tanh(z) * mask, (x, W, z, mask.copy())

    def backward(upstream: Array, cache: Any) -> Any:
        x, W, z, mask = cache
        delta = upstream * mask * (1 - np.tanh(z) ** 2)
        return {"x": delta @ W, "W": delta.T @ x}

    primals = {"x": rng.standard_normal((5, 3)), "W": rng.standard_normal((4, 3))}
    mask = (rng.random((5, 4)) < 0.7).astype(float)
    return _functions(forward, backward), Case(name="masked layer", primals=primals, constants={"mask": mask})


def _two_modes(rng: np.random.Generator) -> tuple[Adapter, Case]:
    def forward(x: Array, gamma: Array, mean: Array, var: Array, training: bool) -> Any:
        m, v = (x.mean(axis=0), x.var(axis=0)) if training else (mean, var)
        hat = (x - m) / np.sqrt(v + 1e-5)
        return gamma * hat, (hat, np.sqrt(v + 1e-5), gamma, training)

    def backward(upstream: Array, cache: Any) -> Any:
        hat, std, gamma, training = cache
        d = upstream * gamma
        if training:
            d = d - d.mean(axis=0) - hat * np.mean(d * hat, axis=0)
        return {"x": d / std, "gamma": (upstream * hat).sum(axis=0)}

    primals = {"x": rng.standard_normal((5, 3)), "gamma": rng.uniform(0.5, 2, 3)}
    constants = {"mean": rng.standard_normal(3), "var": rng.uniform(0.5, 2, 3), "training": True}
    return _functions(forward, backward), Case(name="batch norm", primals=primals, constants=constants)


def _ridge(rng: np.random.Generator) -> tuple[Adapter, Case]:
    def forward(w: Array, x: Array, y: Array, reg: float) -> Any:
        r = x @ w - y
        return 0.5 * np.sum(r**2) + 0.5 * reg * np.sum(w**2), (w, x, r, reg)

    def backward(upstream: Array, cache: Any) -> Any:
        w, x, r, reg = cache
        return {"w": upstream * (x.T @ r + reg * w)}

    constants = {"x": rng.standard_normal((5, 3)), "y": rng.standard_normal(5), "reg": 0.0}
    primals = {"w": rng.standard_normal(3)}
    return _functions(forward, backward), Case(name="ridge without a penalty", primals=primals, constants=constants)


def _functions(forward: Callable[..., Any], backward: Callable[..., Any]) -> Adapter:
    adapter: Adapter = registry.adapter["functions"].item(forward, backward)
    return adapter


#: scenes for bugs that break the contract of backward, tried in this order until the bug shows
SCENES: tuple[Callable[[np.random.Generator], tuple[Adapter, Case]], ...] = (
    _affine,
    _masked,
    _add,
    _embedding,
    _two_modes,
    _one_sample,
    _ridge,
)
