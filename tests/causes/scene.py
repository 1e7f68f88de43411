"""A small network with all sizes different, and what a runner would know when one of its gradients is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradverify.causes._rank import name_causes
from gradverify.types import Case, Cause, Estimate, Evidence, Measurement

B, D, H, K = 5, 4, 3, 6
RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((B, D)), np.array([0, 5, 2, 3, 5])
PARAMETERS = {
    "W1": RNG.standard_normal((H, D)),
    "b1": RNG.standard_normal(H),
    "W2": RNG.standard_normal((K, H)),
    "b2": RNG.standard_normal(K),
}
VALUE = "pullback-matches-oracle"


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def forward(W1, b1, W2, b2, x=X, y=Y):
    p = softmax(np.tanh(x @ W1.T + b1) @ W2.T + b2)
    return -np.mean(np.log(p[np.arange(len(y)), y]))


def backward(primals, upstream, *, delta_of=None, slope=lambda z, a: 1 - a**2):
    """The gradients of the mean cross-entropy; the keywords are where bugs are planted."""
    W1, b1, W2, b2 = (primals[k] for k in PARAMETERS)
    z = X @ W1.T + b1
    h = np.tanh(z)
    p = softmax(h @ W2.T + b2)
    hot = np.eye(K)[Y]
    delta = (p - hot) / B * upstream if delta_of is None else delta_of(p, hot) / B * upstream
    back = delta @ W2 * slope(z, h)
    return {"W1": back.T @ X, "b1": back.sum(axis=0), "W2": delta.T @ h, "b2": delta.sum(axis=0)}


def elementwise_softmax(p, hot):
    """The gradient of the cross-entropy at p, times s (1 - s)."""
    return -hot / p * p * (1 - p)


def twice(p, hot):
    """(p - y) through the Jacobian of the softmax once more."""
    return p * ((p - hot) - np.sum((p - hot) * p, axis=1, keepdims=True))


def what_if():
    """What tracing the forward would offer: the same network with one rule replaced."""
    at = (PARAMETERS, np.ones(()))
    yield "missing-activation-derivative: tanh #0", backward(*at, slope=lambda z, a: 1)
    yield "derivative-of-activation-not-preactivation: tanh #0", backward(*at, slope=lambda z, a: 1 - np.tanh(a) ** 2)
    yield "softmax-elementwise: softmax #0", backward(*at, delta_of=elementwise_softmax)
    yield "cross-entropy-twice: softmax #0", backward(*at, delta_of=twice)


def network(
    change: Callable[[dict[str, Any]], dict[str, Any]], *, of: str = "W1", traced: bool = True
) -> tuple[Measurement, Evidence]:
    """The measurement of ``of`` and the evidence, when backward is ``change`` of the right gradients."""
    right = backward(PARAMETERS, np.ones(()))

    def gradients(primals, upstream):
        return change(backward({**PARAMETERS, **primals}, upstream))

    return scene(PARAMETERS, gradients, right, of=of, out=forward(**PARAMETERS), constants={"x": X, "y": Y},
                 upstream=np.ones(()), what_if=what_if if traced else None)  # fmt: skip


def scene(primals, gradients, want, *, of, out, upstream, constants=None, what_if=None, check=VALUE, **more):
    """A measurement of primal ``of`` and its evidence; ``gradients(primals, upstream)`` is the code under test."""
    case = Case(name="scene", primals=primals, constants=constants or {}, upstream=upstream)
    got = gradients(dict(primals), upstream)
    error = {k: 1e-15 * np.max(np.abs(v), initial=0.0) for k, v in want.items()}
    m = Measurement(
        of=f"gradient of {of}", got=np.zeros_like(want[of]) if got[of] is None else got[of],
        want=Estimate(value=want[of], error=error[of]), rounding=16 * 2.3e-16 * np.max(np.abs(want[of]), initial=0.0),
        facts={"primal": of, **({"none": True} if got[of] is None else {})}, **more,
    )  # fmt: skip
    evidence = Evidence(
        check=check, case=case, upstream=upstream, out=np.asarray(out), got=got,
        want={k: Estimate(value=v, error=error[k]) for k, v in want.items()},
        rounding={k: error[k] + 16 * 2.3e-16 * float(np.max(np.abs(v), initial=0.0)) for k, v in want.items()},
        gradients=lambda p, u: gradients({**primals, **p}, u), what_if=what_if,
    )  # fmt: skip
    return m, evidence


def named(m: Measurement, ev: Evidence) -> list[str]:
    """The names of the causes, best first."""
    return [c.name for c in name_causes(m, ev)]


def first(m: Measurement, ev: Evidence) -> Cause:
    """The best cause."""
    causes = name_causes(m, ev)
    assert causes, "no cause was named"
    return causes[0]
