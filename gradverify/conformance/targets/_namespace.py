"""The catalogue over a namespace that speaks NumPy, such as ``autograd.numpy`` and ``jax.numpy``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Named = Mapping[str, Any]
Forward = Callable[[Named, Named], Any]  #: (primals, constants) as arrays of the framework -> output


def table(
    xp: Any,
    act: Mapping[str, Callable[..., Any]],
    softmax: Callable[..., Any],
    log_softmax: Callable[..., Any],
    *,
    loss_log_softmax: Callable[..., Any] | None = None,
) -> dict[str, Forward]:
    """The forward of every op but convolution and pooling.

    act  the activations by name
    loss_log_softmax  that within the losses, where it is another one
    """
    loss_log_softmax = loss_log_softmax or log_softmax
    sigmoid = act["sigmoid"]

    def reduced(losses: Any, how: str) -> Any:
        return losses if how == "none" else getattr(xp, how)(losses)

    def likelihood(log_p: Any, y: Any, how: str) -> Any:
        hot = np.eye(log_p.shape[-1])[y] if np.ndim(y) < log_p.ndim else np.asarray(y)
        return reduced(-xp.sum(hot.astype(log_p.dtype) * log_p, axis=-1), how)

    def half(A: Any, Y: Any, how: str) -> Any:
        return reduced(0.5 * xp.sum((A - Y) ** 2, axis=-1), how)

    def huber(p: Named, c: Named) -> Any:
        e, delta = p["A"] - p["Y"], c.get("delta", 1.0)
        near = xp.abs(e) <= delta
        return reduced(xp.where(near, 0.5 * e**2, delta * (xp.abs(e) - delta / 2)), by(c))

    def affine(a: Any, W: Any, b: Any) -> Any:
        return xp.dot(a, W.T) + b

    def stack(p: Named, sigma: Any) -> Any:
        a, depth = p["X"], sum(k.startswith("W") for k in p)
        names = [sigma] * depth if isinstance(sigma, str) else sigma
        for k, name in enumerate(names, start=1):
            a = act[name](affine(a, p[f"W{k}"], p[f"b{k}"]))
        return a

    def network(p: Named, c: Named) -> Any:
        a, y = stack(p, c.get("activations", "sigmoid")), {**p, **c}["y"]
        loss = c.get("loss") == "softmax_cross_entropy"
        return likelihood(loss_log_softmax(a, -1), y, by(c)) if loss else half(a, y, by(c))

    def standardise(x: Any, axis: int, eps: float) -> Any:
        centred = x - xp.mean(x, axis=axis, keepdims=True)
        return centred / xp.sqrt(xp.mean(centred**2, axis=axis, keepdims=True) + eps)

    def norm(axis: int) -> Forward:
        return lambda p, c: p["gamma"] * standardise(p["X"], axis, c.get("eps", 1e-5)) + p["beta"]

    def fixed_norm(p: Named, c: Named) -> Any:
        return p["gamma"] * (p["X"] - c["mean"]) / np.sqrt(c["var"] + c.get("eps", 1e-5)) + p["beta"]

    def clip_by_norm(p: Named, c: Named) -> Any:
        length = xp.sqrt(xp.sum(p["G"] ** 2))
        return p["G"] * xp.minimum(c.get("max_norm", 1.0) / length, 1.0)

    def rnn(p: Named, c: Named) -> Any:
        h, out = p["h0"], []
        for t in range(p["X"].shape[0]):
            h = xp.tanh(affine(p["X"][t], p["Wx"], p["b"]) + xp.dot(h, p["Wh"].T))
            out.append(h)
        return xp.stack(out)

    def lstm(p: Named, c: Named) -> Any:
        h, state, out = p["h0"], p["c0"], []
        n = h.shape[-1]
        for t in range(p["X"].shape[0]):
            z = affine(p["X"][t], p["Wx"], p["b"]) + xp.dot(h, p["Wh"].T)
            i, f, g, o = (z[:, k * n : (k + 1) * n] for k in range(4))
            state = sigmoid(f) * state + sigmoid(i) * xp.tanh(g)
            h = sigmoid(o) * xp.tanh(state)
            out.append(h)
        return xp.stack(out)

    def attention(p: Named, c: Named) -> Any:
        scores = xp.matmul(p["Q"], xp.swapaxes(p["K"], -1, -2)) / np.sqrt(p["Q"].shape[-1]).astype(p["Q"].dtype)
        if c.get("mask") is not None:
            scores = xp.where(c["mask"], scores, -np.inf)
        return xp.matmul(softmax(scores, -1), p["V"])

    def by(c: Named) -> str:
        return str(c.get("reduction", "mean"))

    def z(f: Callable[..., Any]) -> Forward:
        return lambda p, c: f(p["z"], **c)

    def bce(p: Named, c: Named) -> Any:
        return reduced(act["softplus"](p["z"]) - c["y"] * p["z"], by(c))

    ops: dict[str, Forward] = {
        **{name: z(f) for name, f in act.items()},
        "affine": lambda p, _: affine(p["A"], p["W"], p["b"]),
        "affine_example": lambda p, _: affine(p["a"], p["W"], p["b"]),
        "softmax": lambda p, c: softmax(p["z"], c.get("axis", -1)),
        "log_softmax": lambda p, c: log_softmax(p["z"], c.get("axis", -1)),
        "half_squared_error": lambda p, c: half(p["A"], p["Y"], by(c)),
        "mse": lambda p, c: reduced((p["A"] - p["Y"]) ** 2, by(c)),
        "huber": huber,
        "bce_with_logits": bce,
        "softmax_cross_entropy": lambda p, c: likelihood(loss_log_softmax(p["z"], -1), c["y"], by(c)),
        "softmax_cross_entropy_two_step": lambda p, c: likelihood(xp.log(softmax(p["z"], -1)), c["y"], by(c)),
        "two_layer": lambda p, c: half(stack(p, c.get("sigma", "sigmoid")), p["Y"], "mean"),
        "network": network,
        "deep_network": lambda p, c: stack(p, c.get("activations", "tanh")),
        "residual_block": lambda p, c: p["X"] + stack(p, (c.get("sigma", "relu"), "identity")),
        "standardise": lambda p, c: standardise(p["x"], c.get("axis", -1), c.get("eps", 1e-5)),
        "layer_norm": norm(-1),
        "batch_norm": norm(-2),
        "batch_norm_eval": fixed_norm,
        "clip_by_value": lambda p, c: xp.clip(p["G"], -c["limit"], c["limit"]),
        "clip_by_norm": clip_by_norm,
        "dropout": lambda p, c: p["X"] * c["mask"] / (1 - c.get("rate", 0.5)),
        "embedding": lambda p, c: p["table"][c["indices"]],
        "rnn": rnn,
        "lstm": lstm,
        "attention": attention,
        **rules(xp),
    }
    return ops


def rules(xp: Any) -> dict[str, Forward]:
    """The rules of the calculus, in operators and the ``exp`` and ``log`` of a namespace."""

    def x(f: Callable[[Any], Any]) -> Forward:
        return lambda p, c: f(p["x"])

    return {
        "product": lambda p, _: p["p"] * p["q"],
        "power": lambda p, c: p["x"] ** c.get("n", 2),
        "constant": lambda p, c: c.get("c", 1.0) + 0 * p["x"],
        "exponential": x(xp.exp),
        "logarithm": x(xp.log),
        "constant_multiple": x(lambda v: 7 * xp.exp(v)),
        "sum_rule": x(lambda v: v**3 + xp.exp(v)),
        "chain_rule": x(lambda v: (3 * v + 5) ** 2),
        "extended_chain_rule": x(lambda v: xp.log(xp.exp(v**2))),
        "multivariable_chain_rule": x(lambda v: v**2 * xp.exp(v)),
        "derivative_of_a_sum": x(lambda v: v + v**2 + v**3),
    }
