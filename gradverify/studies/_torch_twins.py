"""The ops of the catalogue as torch has them: the same arguments by the same names, tensors in, a tensor out.

torch is imported when ``twins`` is called. Where torch has an op of its own (``torch.nn.functional``) that is used;
compositions of the derivation are composed of torch's ops.
"""

# ruff: noqa: PLW0108 (a lambda gives an argument the name that the catalogue gives it)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradverify.errors import need

Twin = Callable[..., Any]


def twins() -> dict[str, Twin]:
    """Op -> callable on tensors. Raises MissingExtra without torch."""
    torch = need("torch", "torch", "the torch rows of gradverify report")
    F = torch.nn.functional
    return {**_elementwise(torch, F), **_losses(F), **_layers(torch, F), **_networks(torch, F)}


def _elementwise(torch: Any, F: Any) -> dict[str, Twin]:
    return {
        "power": lambda x, n=2: torch.pow(x, n),
        "exponential": lambda x: torch.exp(x),
        "logarithm": lambda x: torch.log(x),
        "constant": lambda x, c=1.0: 0 * x + c,
        "constant_multiple": lambda x: 7 * torch.exp(x),
        "sum_rule": lambda x: x**3 + torch.exp(x),
        "chain_rule": lambda x: (3 * x + 5) ** 2,
        "extended_chain_rule": lambda x: torch.log(torch.exp(x**2)),
        "multivariable_chain_rule": lambda x: x**2 * torch.exp(x),
        "derivative_of_a_sum": lambda x: x + x**2 + x**3,
        "product": lambda p, q: p * q,
        "identity": lambda z: z * 1,
        "relu": lambda z: F.relu(z),
        "leaky_relu": lambda z, alpha=0.01: F.leaky_relu(z, alpha),
        "sigmoid": lambda z: torch.sigmoid(z),
        "tanh": lambda z: torch.tanh(z),
        "gelu": lambda z: F.gelu(z),
        "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
        "silu": lambda z: F.silu(z),
        "elu": lambda z, alpha=1.0: F.elu(z, alpha),
        "softplus": lambda z: F.softplus(z),
        "mish": lambda z: F.mish(z),
        "softmax": lambda z, axis=-1: F.softmax(z, axis),
        "log_softmax": lambda z, axis=-1: F.log_softmax(z, axis),
        "clip_by_value": lambda G, limit: torch.clamp(G, -limit, limit),
        "clip_by_norm": lambda G, max_norm: G * torch.clamp(max_norm / torch.linalg.vector_norm(G), max=1.0),
        "dropout": lambda X, mask, rate=0.5: X * mask.to(X.dtype) / (1 - rate),
    }


def _losses(F: Any) -> dict[str, Twin]:
    def half(A: Any, Y: Any, reduction: str = "mean") -> Any:
        each = 0.5 * ((A - Y) ** 2).sum(-1)
        return each if reduction == "none" else each.mean() if reduction == "mean" else each.sum()

    def entropy(z: Any, y: Any, reduction: str = "mean") -> Any:
        return F.cross_entropy(z, y, reduction=reduction)

    def two_step(z: Any, y: Any, reduction: str = "mean") -> Any:
        one_hot = y if y.is_floating_point() else F.one_hot(y, z.shape[-1]).to(z.dtype)
        each = -(one_hot * F.softmax(z, -1).log()).sum(-1)
        return each if reduction == "none" else each.mean() if reduction == "mean" else each.sum()

    return {
        "half_squared_error": half,
        "mse": lambda A, Y, reduction="mean": F.mse_loss(A, Y, reduction=reduction),
        "huber": lambda A, Y, delta=1.0, reduction="mean": F.huber_loss(A, Y, delta=delta, reduction=reduction),
        "bce_with_logits": lambda z, y, reduction="mean": F.binary_cross_entropy_with_logits(z, y, reduction=reduction),
        "softmax_cross_entropy": entropy,
        "softmax_cross_entropy_two_step": two_step,
    }


def _layers(torch: Any, F: Any) -> dict[str, Twin]:
    def batch_norm_eval(X: Any, gamma: Any, beta: Any, mean: Any, var: Any, eps: float = 1e-5) -> Any:
        return F.batch_norm(X, mean, var, gamma, beta, eps=eps)

    def standardise(x: Any, axis: int = -1, eps: float = 1e-5) -> Any:
        turned = x.transpose(axis, -1)
        return F.layer_norm(turned, turned.shape[-1:], eps=eps).transpose(axis, -1)

    def rnn(X: Any, h0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
        out, h = [], h0
        for x in X:
            h = torch.tanh(F.linear(x, Wx, b) + F.linear(h, Wh))
            out.append(h)
        return torch.stack(out)

    def lstm(X: Any, h0: Any, c0: Any, Wx: Any, Wh: Any, b: Any) -> Any:
        weights = [Wx, Wh, b, torch.zeros_like(b)]
        return torch.lstm(X, (h0[None], c0[None]), weights, True, 1, 0.0, True, False, False)[0]

    return {
        "affine": lambda A, W, b: F.linear(A, W, b),
        "affine_example": lambda a, W, b: F.linear(a, W, b),
        "standardise": standardise,
        "batch_norm": lambda X, gamma, beta, eps=1e-5: F.batch_norm(X, None, None, gamma, beta, training=True, eps=eps),
        "batch_norm_eval": batch_norm_eval,
        "layer_norm": lambda X, gamma, beta, eps=1e-5: F.layer_norm(X, X.shape[-1:], gamma, beta, eps=eps),
        "conv2d": lambda X, W, b, stride=1, padding=0: F.conv2d(X, W, b, stride, padding),
        "max_pool2d": lambda X, size=2, stride=None: F.max_pool2d(X, size, stride),
        "mean_pool2d": lambda X, size=2, stride=None: F.avg_pool2d(X, size, stride),
        "embedding": lambda table, indices: F.embedding(indices, table),
        "rnn": rnn,
        "lstm": lstm,
        "attention": lambda Q, K, V, mask=None: F.scaled_dot_product_attention(Q, K, V, attn_mask=mask),
    }


def _networks(torch: Any, F: Any) -> dict[str, Twin]:
    acts = {"identity": lambda z: z, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": F.relu}

    def mlp(X: Any, parameters: tuple[Any, ...], activations: Any) -> Any:
        names = [activations] * (len(parameters) // 2) if isinstance(activations, str) else activations
        for k, name in enumerate(names):
            X = acts[name](F.linear(X, parameters[2 * k], parameters[2 * k + 1]))
        return X

    def half(A: Any, Y: Any, reduction: str = "mean") -> Any:
        each = 0.5 * ((A - Y) ** 2).sum(-1)
        return each.mean() if reduction == "mean" else each.sum()

    def two_layer(X: Any, Y: Any, W1: Any, b1: Any, W2: Any, b2: Any, sigma: str = "sigmoid") -> Any:
        return half(mlp(X, (W1, b1, W2, b2), sigma), Y)

    def network(
        X: Any, y: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any,
        activations: Any = "sigmoid", loss: str = "half_squared_error", reduction: str = "mean",
    ) -> Any:  # fmt: skip
        out = mlp(X, (W1, b1, W2, b2, W3, b3), activations)
        return half(out, y, reduction) if loss == "half_squared_error" else F.cross_entropy(out, y, reduction=reduction)

    def deep(X: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any, every: int = 0) -> Any:
        return mlp(X, (W1, b1, W2, b2, W3, b3), "tanh")

    def residual(X: Any, W1: Any, b1: Any, W2: Any, b2: Any, sigma: str = "relu") -> Any:
        return X + F.linear(acts[sigma](F.linear(X, W1, b1)), W2, b2)

    return {"two_layer": two_layer, "network": network, "deep_network": deep, "residual_block": residual}
