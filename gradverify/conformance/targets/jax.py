"""JAX as a target: the catalogue in ``jax.numpy``, ``jax.nn`` and ``jax.lax``, differentiated by ``jax.vjp``.

    pytest --pyargs gradverify.conformance --gradverify-target=gradverify.conformance.targets.jax:target
    ... --gradverify-device=cuda

Needs the extra ``jax``. XLA flushes subnormal numbers to zero, which the target declares; no difference is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.adapters.jax_function import double_precision
from gradverify.conformance.target import Capabilities
from gradverify.conformance.targets._namespace import Forward, Named, table
from gradverify.errors import UsageError, need
from gradverify.types import Case, Gradients, Out, Pullback, differentiable


class JaxTarget:
    """Every op in jax's own functions; the pullback is that of ``jax.vjp``. Raises UsageError without such a device."""

    framework = "numpy"
    traits = frozenset({"engine"})

    def __init__(self, device: str = "cpu") -> None:
        self.jax = need("jax", "jax", "the jax target")
        self.x64 = double_precision(self.jax)
        kind, _, number = device.partition(":")
        try:
            self.device = self.jax.devices(kind)[int(number or 0)]
        except (RuntimeError, IndexError) as error:
            raise UsageError(f"device={device!r}: jax sees no such device here") from error
        self.name = "jax" if device == "cpu" else f"jax on {device}"
        self.capabilities = Capabilities(devices=("cpu", "cuda"), subnormals=False)
        self.ops = catalogue(self.jax)

    def supports(self, case: Case) -> bool:
        """Whether the table has the op."""
        return case.op in self.ops

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """The op on arrays on the device, in their own precision."""
        given = {k: np.array(v) for k, v in case.thawed().items()}
        wanted = {k: v for k, v in given.items() if differentiable(v)}
        rest = {k: v for k, v in given.items() if k not in wanted}
        op = self.ops[case.op]
        with self.x64(), self.jax.default_device(self.device):
            out, pull = self.jax.vjp(lambda p: op({**p, **rest}, case.constants), wanted)

        def pullback(upstream: Out) -> Gradients:
            with self.x64(), self.jax.default_device(self.device):
                (found,) = pull(self.jax.numpy.asarray(np.array(upstream), dtype=out.dtype))
            return {k: np.asarray(found[k]) if k in found else None for k in case.primals}

        return np.asarray(out), pullback


def catalogue(jax: Any) -> dict[str, Forward]:
    """The forward of every op."""
    jnp, nn, lax = jax.numpy, jax.nn, jax.lax
    act: dict[str, Callable[..., Any]] = {
        "identity": lambda z: 1 * z,
        "relu": nn.relu,
        "leaky_relu": lambda z, alpha=0.01: nn.leaky_relu(z, alpha),
        "sigmoid": nn.sigmoid,
        "tanh": jnp.tanh,
        "gelu": lambda z: nn.gelu(z, approximate=False),
        "gelu_tanh": lambda z: nn.gelu(z, approximate=True),
        "silu": nn.silu,
        "elu": lambda z, alpha=1.0: nn.elu(z, alpha),
        "softplus": nn.softplus,
        "mish": nn.mish,
    }

    def conv2d(p: Named, c: Named) -> Any:
        sides = [(n, n) for n in _pair(c.get("padding", 0))]
        out = lax.conv_general_dilated(p["X"], p["W"], _pair(c.get("stride", 1)), sides)
        return out + p["b"][:, None, None]

    def pooled(p: Named, c: Named, start: float, how: Any) -> tuple[Any, int]:
        size = _pair(c.get("size", 2))
        stride = _pair(size if c.get("stride") is None else c["stride"])
        ones = (1,) * (p["X"].ndim - 2)
        zero = np.asarray(start, p["X"].dtype)
        return lax.reduce_window(p["X"], zero, how, ones + size, ones + stride, "VALID"), size[0] * size[1]

    def mean_pool2d(p: Named, c: Named) -> Any:
        total, n = pooled(p, c, 0.0, lax.add)
        return total / n

    return {
        **table(jnp, act, nn.softmax, nn.log_softmax),
        "conv2d": conv2d,
        "max_pool2d": lambda p, c: pooled(p, c, -np.inf, lax.max)[0],
        "mean_pool2d": mean_pool2d,
    }


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


target = JaxTarget
