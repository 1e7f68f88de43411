"""The cost of ``reference_impl``'s network against the counts of the text, as it grows.

Derivation, section 'Computational Complexity of Backpropagation': a forward is B sum n_l n_(l-1) multiplications, a
backward twice that but for the first layer, whose input needs no gradient in the text (here it gets one); differences
are a forward per parameter; B sum n_l numbers of z and as many of a are stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradverify.studies._meter import Meter, peak
from gradverify.types import rng_for
from reference_impl import Ledger, deep_network, initial_parameters, network

#: axis -> (sizes of the axis, the other two): (width, depth, batch)
GROWTH = {
    "width": [(w, 4, 64) for w in (64, 128, 256, 512)],
    "depth": [(128, d, 64) for d in (2, 4, 8, 16, 32)],
    "batch": [(128, 4, b) for b in (64, 128, 256, 512, 1024)],
}

#: With more parameters than this, differences are not run but multiplied out.
RUN_DIFFERENCES = 1500


def sizes_of(width: int, depth: int) -> tuple[int, ...]:
    """n_0, ..., n_L of a network of equal widths."""
    return (width,) * (depth + 1)


def counts(sizes: Sequence[int], batch: int) -> dict[str, int]:
    """The counts of the text: multiplications, parameters, and numbers stored (z and a of every layer)."""
    products = sum(n * m for n, m in zip(sizes[1:], sizes[:-1], strict=True))
    return {
        "forward_ops": batch * products,
        "backward_ops": 2 * batch * products,
        "parameters": products + sum(sizes[1:]),
        "stored": 2 * batch * sum(sizes[1:]),
    }


def measured(axis: str, width: int, depth: int, batch: int, meter: Meter, seed: int) -> dict[str, Any]:
    """One network: the counts, the seconds of its passes, the bytes that its forward holds for the backward."""
    rng = rng_for(seed, "cost", axis, str(width), str(depth), str(batch))
    sizes = sizes_of(width, depth)
    parameters = initial_parameters(sizes, rng, method="he")
    X = rng.standard_normal((batch, width))

    def forward() -> Any:
        return deep_network(X, *parameters, activations="relu")

    def backward() -> Any:
        out, pullback = forward()
        u = np.ones_like(out)
        return lambda: pullback(u)

    _, held = peak(forward)
    number = counts(sizes, batch)
    f, b = meter.seconds(lambda: forward), meter.seconds(backward)
    return {
        "axis": axis, "width": width, "depth": depth, "batch": batch, **number,
        "forward_s": f, "backward_s": b, "backward_over_forward": b / f, "held_bytes": held,
        "held_over_stored": held / (8 * number["stored"]), "differences_forwards": number["parameters"] + 1,
        "differences_s": (number["parameters"] + 1) * f,
        "differences_over_backward": (number["parameters"] + 1) * f / (f + b),
    }  # fmt: skip


def differences(meter: Meter, seed: int) -> Iterator[dict[str, Any]]:
    """Small networks whose differences are really run: forwards counted, and seconds against those of backward."""
    for width in (4, 8, 16):
        rng = rng_for(seed, "cost", "differences", str(width))
        sizes = sizes_of(width, 2)
        if counts(sizes, 8)["parameters"] > RUN_DIFFERENCES:
            continue
        parameters = initial_parameters(sizes, rng, method="he")
        X, Y = rng.standard_normal((8, width)), rng.standard_normal((8, width))
        calls = [0]

        def loss(parameters: Sequence[Any], X: Any = X, Y: Any = Y, calls: list[int] = calls) -> float:
            calls[0] += 1
            return float(network(X, Y, *parameters)[0])

        def by_differences(parameters: list[Any] = parameters, loss: Any = loss) -> list[Any]:
            base, step = loss(parameters), 1e-6
            found = []
            for k, p in enumerate(parameters):
                g = np.empty_like(p)
                for i in np.ndindex(p.shape):
                    moved = p.copy()
                    moved[i] += step
                    g[i] = (loss([*parameters[:k], moved, *parameters[k + 1 :]]) - base) / step
                found.append(g)
            return found

        def by_backward(X: Any = X, Y: Any = Y, parameters: list[Any] = parameters) -> Any:
            return network(X, Y, *parameters)[1](1.0)

        by_differences()
        forwards = calls[0]
        run = Meter(clock=meter.clock, repeats=1, least=0).seconds(lambda: by_differences)
        both = meter.seconds(lambda: by_backward)
        yield {
            "width": width, "parameters": counts(sizes, 8)["parameters"], "forwards": forwards, "differences_s": run,
            "forward_and_backward_s": both, "times": run / both,
        }  # fmt: skip


def checkpointing(seed: int) -> Iterator[dict[str, Any]]:
    """Deep networks with and without checkpoints: numbers held at most, layers computed, same gradients or not."""
    for depth in (4, 16, 64):
        rng = rng_for(seed, "cost", "checkpoints", str(depth))
        parameters = initial_parameters(sizes_of(16, depth), rng, method="xavier")
        X = rng.standard_normal((8, 16))
        plain, first = Ledger(), None
        for every in (None, math.isqrt(depth)):
            book = plain if every is None else Ledger()
            out, pullback = deep_network(X, *parameters, every=every, ledger=book)
            gradients = pullback(np.ones_like(out))
            first = first or gradients
            yield {
                "depth": depth, "checkpoint_every": every or 0, "peak_numbers": book.peak_numbers,
                "of_all": book.peak_numbers / plain.peak_numbers, "layers_computed": book.layers_computed,
                "same_bits": all(np.array_equal(a, b) for a, b in zip(first, gradients, strict=True)),
            }  # fmt: skip
