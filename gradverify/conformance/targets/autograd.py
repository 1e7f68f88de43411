"""HIPS autograd as a target: the catalogue written in ``autograd.numpy`` and differentiated by autograd.

    pytest --pyargs gradverify.conformance --gradverify-target=gradverify.conformance.targets.autograd:target

Needs ``autograd`` and ``scipy``. There is no convolution and no pooling in it. Known differences: ``autograd.toml``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.conformance.target import Capabilities
from gradverify.conformance.targets._namespace import Forward, table
from gradverify.errors import need
from gradverify.types import Case, Gradients, Out, Pullback, differentiable


class AutogradTarget:
    """Every op as NumPy code over ``autograd.numpy``; the pullback is ``autograd.make_vjp``."""

    name = "autograd"
    framework = "numpy"
    traits = frozenset({"engine"})
    capabilities = Capabilities()

    def __init__(self) -> None:
        need("autograd", "peers", "the autograd target")
        from autograd.differential_operators import make_vjp

        self.make_vjp = make_vjp
        self.ops = catalogue()

    def supports(self, case: Case) -> bool:
        """Whether the table has the op."""
        return case.op in self.ops

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """The op traced by autograd."""
        given = {k: np.asarray(v) for k, v in case.thawed().items()}  # autograd knows no subclasses of ndarray
        wanted = {k: v for k, v in given.items() if differentiable(v)}
        rest = {k: v for k, v in given.items() if k not in wanted}
        pull, out = self.make_vjp(lambda p: self.ops[case.op]({**p, **rest}, case.constants))(wanted)

        def pullback(upstream: Out) -> Gradients:
            found = pull(np.asarray(upstream))
            return {k: np.asarray(found[k]) if k in found else None for k in case.primals}

        return np.asarray(out), pullback


def catalogue() -> dict[str, Forward]:
    """The forward of every op."""
    import autograd.numpy as anp
    from autograd.scipy.special import erf, expit, logsumexp

    def softplus(z: Any) -> Any:
        return anp.logaddexp(0.0, z)

    act: dict[str, Callable[..., Any]] = {
        "identity": lambda z: 1.0 * z,
        "relu": lambda z: anp.maximum(z, 0.0),
        "leaky_relu": lambda z, alpha=0.01: anp.where(z > 0, z, alpha * z),
        "sigmoid": expit,
        "tanh": anp.tanh,
        "gelu": lambda z: z * 0.5 * (1 + erf(z / np.sqrt(2.0))),
        "gelu_tanh": lambda z: 0.5 * z * (1 + anp.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
        "silu": lambda z: z * expit(z),
        # not minimum(z, 0), which splits the gradient of a tie in two: at 0 that is no slope between the one-sided ones
        "elu": lambda z, alpha=1.0: anp.where(z > 0, z, alpha * anp.expm1(anp.where(z > 0, 0.0, z))),
        "softplus": softplus,
        "mish": lambda z: z * anp.tanh(softplus(z)),
    }

    def log_softmax(z: Any, axis: int) -> Any:
        z = z - anp.max(z, axis=axis, keepdims=True)
        return z - anp.log(anp.sum(anp.exp(z), axis=axis, keepdims=True))

    def with_logsumexp(z: Any, axis: int) -> Any:
        return z - logsumexp(z, axis=axis, keepdims=True)

    def softmax(z: Any, axis: int) -> Any:
        e = anp.exp(z - anp.max(z, axis=axis, keepdims=True))
        return e / anp.sum(e, axis=axis, keepdims=True)

    return table(anp, act, softmax, with_logsumexp, loss_log_softmax=log_softmax)


target = AutogradTarget
