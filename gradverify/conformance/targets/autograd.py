"""HIPS autograd as a target: the catalogue written in ``autograd.numpy`` and differentiated by autograd.

    pytest --pyargs gradverify.conformance --gradverify-target=gradverify.conformance.targets.autograd:target

Needs ``autograd`` and ``scipy``. There is no convolution and no pooling in it. Known differences: ``autograd.toml``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradverify.conformance.target import Capabilities
from gradverify.errors import need
from gradverify.types import Case, Gradients, Out, Pullback, differentiable

Named = Mapping[str, Any]
Forward = Callable[[Named, Named], Any]


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
        self.ops = table()

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


def table() -> dict[str, Forward]:
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

    def reduced(losses: Any, how: str) -> Any:
        return losses if how == "none" else getattr(anp, how)(losses)

    def log_softmax(z: Any) -> Any:
        z = z - anp.max(z, axis=-1, keepdims=True)
        return z - anp.log(anp.sum(anp.exp(z), axis=-1, keepdims=True))

    def with_logsumexp(z: Any, axis: int) -> Any:
        return z - logsumexp(z, axis=axis, keepdims=True)

    def softmax(z: Any, axis: int = -1) -> Any:
        e = anp.exp(z - anp.max(z, axis=axis, keepdims=True))
        return e / anp.sum(e, axis=axis, keepdims=True)

    def likelihood(log_p: Any, y: Any, how: str) -> Any:
        hot = np.eye(log_p.shape[-1])[y] if np.ndim(y) < log_p.ndim else np.asarray(y)
        return reduced(-anp.sum(hot.astype(log_p.dtype) * log_p, axis=-1), how)

    def half(A: Any, Y: Any, how: str) -> Any:
        return reduced(0.5 * anp.sum((A - Y) ** 2, axis=-1), how)

    def huber(p: Named, c: Named) -> Any:
        e, delta = p["A"] - p["Y"], c.get("delta", 1.0)
        near = anp.abs(e) <= delta
        return reduced(anp.where(near, 0.5 * e**2, delta * (anp.abs(e) - delta / 2)), by(c))

    def affine(a: Any, W: Any, b: Any) -> Any:
        return anp.dot(a, W.T) + b

    def stack(p: Named, sigma: Any) -> Any:
        a, depth = p["X"], sum(k.startswith("W") for k in p)
        names = [sigma] * depth if isinstance(sigma, str) else sigma
        for k, name in enumerate(names, start=1):
            a = act[name](affine(a, p[f"W{k}"], p[f"b{k}"]))
        return a

    def network(p: Named, c: Named) -> Any:
        a, y = stack(p, c.get("activations", "sigmoid")), {**p, **c}["y"]
        loss = c.get("loss") == "softmax_cross_entropy"
        return likelihood(log_softmax(a), y, by(c)) if loss else half(a, y, by(c))

    def standardise(x: Any, axis: int, eps: float) -> Any:
        centred = x - anp.mean(x, axis=axis, keepdims=True)
        return centred / anp.sqrt(anp.mean(centred**2, axis=axis, keepdims=True) + eps)

    def norm(axis: int) -> Forward:
        return lambda p, c: p["gamma"] * standardise(p["X"], axis, c.get("eps", 1e-5)) + p["beta"]

    def fixed_norm(p: Named, c: Named) -> Any:
        return p["gamma"] * (p["X"] - c["mean"]) / np.sqrt(c["var"] + c.get("eps", 1e-5)) + p["beta"]

    def clip_by_norm(p: Named, c: Named) -> Any:
        length = anp.sqrt(anp.sum(p["G"] ** 2))
        return p["G"] * anp.minimum(c.get("max_norm", 1.0) / length, 1.0)

    def rnn(p: Named, c: Named) -> Any:
        h, out = p["h0"], []
        for t in range(p["X"].shape[0]):
            h = anp.tanh(affine(p["X"][t], p["Wx"], p["b"]) + anp.dot(h, p["Wh"].T))
            out.append(h)
        return anp.stack(out)

    def lstm(p: Named, c: Named) -> Any:
        h, state, out = p["h0"], p["c0"], []
        n = h.shape[-1]
        for t in range(p["X"].shape[0]):
            z = affine(p["X"][t], p["Wx"], p["b"]) + anp.dot(h, p["Wh"].T)
            i, f, g, o = (z[:, k * n : (k + 1) * n] for k in range(4))
            state = expit(f) * state + expit(i) * anp.tanh(g)
            h = expit(o) * anp.tanh(state)
            out.append(h)
        return anp.stack(out)

    def attention(p: Named, c: Named) -> Any:
        scores = anp.matmul(p["Q"], anp.swapaxes(p["K"], -1, -2)) / np.sqrt(p["Q"].shape[-1]).astype(p["Q"].dtype)
        if c.get("mask") is not None:
            scores = anp.where(c["mask"], scores, -np.inf)
        return anp.matmul(softmax(scores), p["V"])

    def by(c: Named) -> str:
        return str(c.get("reduction", "mean"))

    def z(f: Callable[..., Any]) -> Forward:
        return lambda p, c: f(p["z"], **c)

    def x(f: Callable[[Any], Any]) -> Forward:
        return lambda p, c: f(p["x"])

    def bce(p: Named, c: Named) -> Any:
        return reduced(softplus(p["z"]) - c["y"] * p["z"], by(c))

    ops: dict[str, Forward] = {
        **{name: z(f) for name, f in act.items()},
        "affine": lambda p, _: affine(p["A"], p["W"], p["b"]),
        "affine_example": lambda p, _: affine(p["a"], p["W"], p["b"]),
        "softmax": lambda p, c: softmax(p["z"], c.get("axis", -1)),
        "log_softmax": lambda p, c: with_logsumexp(p["z"], c.get("axis", -1)),
        "half_squared_error": lambda p, c: half(p["A"], p["Y"], by(c)),
        "mse": lambda p, c: reduced((p["A"] - p["Y"]) ** 2, by(c)),
        "huber": huber,
        "bce_with_logits": bce,
        "softmax_cross_entropy": lambda p, c: likelihood(log_softmax(p["z"]), c["y"], by(c)),
        "softmax_cross_entropy_two_step": lambda p, c: likelihood(anp.log(softmax(p["z"])), c["y"], by(c)),
        "two_layer": lambda p, c: half(stack(p, c.get("sigma", "sigmoid")), p["Y"], "mean"),
        "network": network,
        "deep_network": lambda p, c: stack(p, c.get("activations", "tanh")),
        "residual_block": lambda p, c: p["X"] + stack(p, (c.get("sigma", "relu"), "identity")),
        "standardise": lambda p, c: standardise(p["x"], c.get("axis", -1), c.get("eps", 1e-5)),
        "layer_norm": norm(-1),
        "batch_norm": norm(-2),
        "batch_norm_eval": fixed_norm,
        "clip_by_value": lambda p, c: anp.clip(p["G"], -c["limit"], c["limit"]),
        "clip_by_norm": clip_by_norm,
        "dropout": lambda p, c: p["X"] * c["mask"] / (1 - c.get("rate", 0.5)),
        "embedding": lambda p, c: p["table"][c["indices"]],
        "rnn": rnn,
        "lstm": lstm,
        "attention": attention,
        "product": lambda p, _: p["p"] * p["q"],
        "power": lambda p, c: p["x"] ** c.get("n", 2),
        "constant": lambda p, c: c.get("c", 1.0) + 0 * p["x"],
        "exponential": x(anp.exp),
        "logarithm": x(anp.log),
        "constant_multiple": x(lambda v: 7 * anp.exp(v)),
        "sum_rule": x(lambda v: v**3 + anp.exp(v)),
        "chain_rule": x(lambda v: (3 * v + 5) ** 2),
        "extended_chain_rule": x(lambda v: anp.log(anp.exp(v**2))),
        "multivariable_chain_rule": x(lambda v: v**2 * anp.exp(v)),
        "derivative_of_a_sum": x(lambda v: v + v**2 + v**3),
    }
    return ops


target = AutogradTarget
