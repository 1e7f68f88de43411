"""One point, or a few, for every op, each with the same op written in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the twins of the ops are written in torch: install gradverify[torch]")
F = torch.nn.functional


@dataclass(frozen=True)
class OpCase:
    op: str
    primals: Mapping[str, Any]
    twin: Callable[..., Any]
    constants: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def id(self) -> str:
        return self.op + (f"-{self.note}" if self.note else "")

    def arguments(self, dtype: str = "float64") -> dict[str, Any]:
        return {k: v.astype(dtype) if v.dtype.kind == "f" else np.array(v) for k, v in self.primals.items()}


RNG = np.random.default_rng(20240607)


def draw(*shape):
    return RNG.standard_normal(shape)


def dense(A, W, b):
    return A @ W.T + b


def half(A, Y):
    return 0.5 * ((A - Y) ** 2).sum(-1)


def mlp(X, *parameters, act=torch.sigmoid, last=None):
    for k in range(0, len(parameters), 2):
        Z = dense(X, *parameters[k : k + 2])
        X = Z if last == "identity" and k == len(parameters) - 2 else act(Z)
    return X


def batch_norm(X, gamma, beta):
    return F.batch_norm(X, None, None, gamma, beta, training=True)


def rnn(X, h0, Wx, Wh, b):
    out, h = [], h0
    for x in X:
        h = torch.tanh(dense(x, Wx, b) + h @ Wh.T)
        out.append(h)
    return torch.stack(out)


def lstm(X, h0, c0, Wx, Wh, b):
    net = torch.nn.LSTM(X.shape[-1], h0.shape[-1], dtype=X.dtype)
    weights = {"weight_ih_l0": Wx, "weight_hh_l0": Wh, "bias_ih_l0": b, "bias_hh_l0": torch.zeros_like(b)}
    return torch.func.functional_call(net, weights, (X, (h0[None], c0[None])))[0]


def clip_norm(G, max_norm):
    norm = torch.linalg.vector_norm(G)
    return G * torch.clamp(max_norm / norm, max=1.0)


def pooled(pool):
    return lambda X, size, stride: pool(X, size, stride)


def case(op, primals, twin, note="", **constants):
    return OpCase(op, primals, twin, constants, note)


X34, Y34, LOGITS, POSITIVE = draw(3, 4), draw(3, 4), 3 * draw(5, 4), np.exp(draw(3, 4))
LABELS, ONE_HOT = np.array([0, 3, 1, 1, 2]), np.eye(4)[[0, 3, 1, 1, 2]]
SOFT = np.exp(draw(5, 4))
SOFT /= SOFT.sum(-1, keepdims=True)
BINARY = np.array([[0.0, 1.0], [1.0, 0.3], [0.0, 0.0]])
LAYERS = {"W1": draw(5, 3), "b1": draw(5), "W2": draw(4, 5), "b2": draw(4), "W3": draw(2, 4), "b3": draw(2)}
TWO = {"W1": draw(5, 3), "b1": draw(5), "W2": draw(2, 5), "b2": draw(2)}
NORM = {"X": draw(6, 4) + 2, "gamma": draw(4), "beta": draw(4)}
IMAGES = draw(2, 3, 6, 7)
TIME = {"X": draw(4, 2, 3), "h0": draw(2, 5)}
QKV = {"Q": draw(3, 4), "K": draw(5, 4), "V": draw(5, 2)}
LOOK = np.tril(np.ones((3, 5), bool), 1)
MEAN, VAR, MASK = draw(4), np.exp(draw(4)), RNG.random((3, 4)) < 0.6
INDICES = np.array([[0, 2, 2], [5, 0, 2]])

CASES = [
    case("power", {"x": X34}, lambda x, n: x**n, n=3),
    case("power", {"x": POSITIVE}, lambda x, n: x**n, "negative-half", n=-0.5),
    case("power", {"x": X34}, lambda x, n: x * 0 + 1, "zeroth", n=0),
    case("exponential", {"x": X34}, torch.exp),
    case("logarithm", {"x": POSITIVE}, torch.log),
    case("constant", {"x": X34}, lambda x, c: x * 0 + c, c=2.5),
    case("constant_multiple", {"x": X34}, lambda x: 7 * torch.exp(x)),
    case("sum_rule", {"x": X34}, lambda x: x**3 + torch.exp(x)),
    case("chain_rule", {"x": X34}, lambda x: (3 * x + 5) ** 2),
    case("extended_chain_rule", {"x": X34}, lambda x: torch.log(torch.exp(x**2))),
    case("multivariable_chain_rule", {"x": X34}, lambda x: x**2 * torch.exp(x)),
    case("derivative_of_a_sum", {"x": X34}, lambda x: x + x**2 + x**3),
    case("product", {"p": X34, "q": Y34}, torch.mul),
    case("affine", {"A": draw(4, 3), "W": draw(5, 3), "b": draw(5)}, dense),
    case("affine_example", {"a": draw(3), "W": draw(5, 3), "b": draw(5)}, lambda a, W, b: W @ a + b),
    case("identity", {"z": X34}, lambda z: z * 1),
    case("relu", {"z": X34}, F.relu),
    case("leaky_relu", {"z": X34}, lambda z, alpha: F.leaky_relu(z, alpha), alpha=0.2),
    case("sigmoid", {"z": X34}, torch.sigmoid),
    case("tanh", {"z": X34}, torch.tanh),
    case("gelu", {"z": X34}, F.gelu),
    case("gelu_tanh", {"z": X34}, lambda z: F.gelu(z, approximate="tanh")),
    case("silu", {"z": X34}, F.silu),
    case("elu", {"z": X34}, lambda z, alpha: F.elu(z, alpha), alpha=0.7),
    case("softplus", {"z": X34}, F.softplus),
    case("mish", {"z": X34}, F.mish),
    case("softmax", {"z": LOGITS}, lambda z: F.softmax(z, -1)),
    case("softmax", {"z": LOGITS}, lambda z, axis: F.softmax(z, axis), "columns", axis=-2),
    case("log_softmax", {"z": LOGITS}, lambda z: F.log_softmax(z, -1)),
    case("half_squared_error", {"A": X34, "Y": Y34}, lambda A, Y: half(A, Y).mean()),
    case("half_squared_error", {"A": X34, "Y": Y34}, lambda A, Y, **_: half(A, Y), "none", reduction="none"),
    case("half_squared_error", {"A": X34[0], "Y": Y34[0]}, half, "one-example"),
    case("mse", {"A": X34, "Y": Y34}, F.mse_loss),
    case("mse", {"A": X34, "Y": Y34}, F.mse_loss, "sum", reduction="sum"),
    case("mse", {"A": X34[:, 0], "Y": Y34[:, 0]}, F.mse_loss, "one-axis"),
    case("huber", {"A": X34, "Y": Y34}, F.huber_loss, delta=0.8),
    case("huber", {"A": X34, "Y": Y34}, F.huber_loss, "none", reduction="none"),
    case("bce_with_logits", {"z": LOGITS[:3, :2], "y": BINARY}, F.binary_cross_entropy_with_logits),
    case("bce_with_logits", {"z": LOGITS[:3, 0], "y": BINARY[:, 0]}, F.binary_cross_entropy_with_logits, "one-axis"),
    case("softmax_cross_entropy", {"z": LOGITS, "y": LABELS}, F.cross_entropy),
    case("softmax_cross_entropy", {"z": LOGITS, "y": ONE_HOT}, F.cross_entropy, "one-hot"),
    case("softmax_cross_entropy", {"z": LOGITS, "y": SOFT}, F.cross_entropy, "soft"),
    case("softmax_cross_entropy", {"z": LOGITS, "y": LABELS}, F.cross_entropy, "sum", reduction="sum"),
    case("softmax_cross_entropy", {"z": LOGITS, "y": LABELS}, F.cross_entropy, "none", reduction="none"),
    case("softmax_cross_entropy", {"z": LOGITS[0], "y": LABELS[0]}, F.cross_entropy, "one-example"),
    case("softmax_cross_entropy_two_step", {"z": LOGITS, "y": LABELS}, F.cross_entropy),
    case("two_layer", {"X": draw(4, 3), "Y": draw(4, 2), **TWO}, lambda X, Y, *p: half(mlp(X, *p), Y).mean()),
    case(
        "two_layer",
        {"X": draw(4, 3), "Y": draw(4, 2), **TWO},
        lambda X, Y, *p, sigma: half(mlp(X, *p, act=torch.tanh), Y).mean(),
        "tanh",
        sigma="tanh",
    ),
    case("network", {"X": draw(4, 3), "y": draw(4, 2), **LAYERS}, lambda X, y, *p: half(mlp(X, *p), y).mean()),
    case(
        "network",
        {"X": draw(4, 3), "y": np.array([0, 1, 1, 0]), **LAYERS},
        lambda X, y, *p, **_: F.cross_entropy(mlp(X, *p, act=torch.tanh, last="identity"), y, reduction="sum"),
        "classifier",
        activations=("tanh", "tanh", "identity"),
        loss="softmax_cross_entropy",
        reduction="sum",
    ),
    case("deep_network", {"X": draw(4, 3), **LAYERS}, lambda X, *p: mlp(X, *p, act=torch.tanh)),
    case("deep_network", {"X": draw(4, 3), **LAYERS}, lambda X, *p, every: mlp(X, *p, act=torch.tanh), "2", every=2),
    case("standardise", {"x": NORM["X"]}, lambda x: F.layer_norm(x, (4,))),
    case("batch_norm", NORM, batch_norm),
    case(
        "batch_norm_eval",
        NORM,
        lambda X, g, b, mean, var: F.batch_norm(X, torch.tensor(mean).to(X), torch.tensor(var).to(X), g, b),
        mean=MEAN,
        var=VAR,
    ),
    case("layer_norm", NORM, lambda X, g, b: F.layer_norm(X, (4,), g, b)),
    case(
        "residual_block",
        {"X": draw(4, 3), "W1": draw(5, 3), "b1": draw(5), "W2": draw(3, 5), "b2": draw(3)},
        lambda X, W1, b1, W2, b2: X + dense(F.relu(dense(X, W1, b1)), W2, b2),
    ),
    case("clip_by_value", {"G": X34}, lambda G, limit: torch.clamp(G, -limit, limit), limit=0.5),
    case("clip_by_norm", {"G": X34}, clip_norm, "longer", max_norm=0.5),
    case("clip_by_norm", {"G": X34}, lambda G, max_norm: G * 1, "shorter", max_norm=50.0),
    case("dropout", {"X": X34}, lambda X, mask, rate: X * torch.tensor(mask) / (1 - rate), mask=MASK, rate=0.4),
    case("conv2d", {"X": IMAGES, "W": draw(4, 3, 3, 2), "b": draw(4)}, F.conv2d),
    case("conv2d", {"X": IMAGES, "W": draw(4, 3, 2, 3), "b": draw(4)}, F.conv2d, "pair", stride=(2, 3), padding=(1, 2)),
    case("max_pool2d", {"X": IMAGES}, lambda X: F.max_pool2d(X, 2)),
    case("max_pool2d", {"X": IMAGES}, pooled(F.max_pool2d), "overlap", size=(3, 2), stride=1),
    case("mean_pool2d", {"X": IMAGES}, lambda X: F.avg_pool2d(X, 2)),
    case("mean_pool2d", {"X": IMAGES}, pooled(F.avg_pool2d), "overlap", size=3, stride=(1, 2)),
    case("embedding", {"table": draw(6, 3), "indices": INDICES}, lambda table, i: F.embedding(i, table)),
    case("rnn", {**TIME, "Wx": draw(5, 3), "Wh": draw(5, 5), "b": draw(5)}, rnn),
    case("lstm", {**TIME, "c0": draw(2, 5), "Wx": draw(20, 3), "Wh": draw(20, 5), "b": draw(20)}, lstm),
    case("attention", QKV, F.scaled_dot_product_attention),
    case(
        "attention",
        QKV,
        lambda Q, K, V, mask: F.scaled_dot_product_attention(Q, K, V, attn_mask=torch.tensor(mask)),
        "masked",
        mask=LOOK,
    ),
    case("attention", {k: draw(2, *v.shape) for k, v in QKV.items()}, F.scaled_dot_product_attention, "heads"),
]  # fmt: skip
IDS = [c.id for c in CASES]


def torch_vjp(c: OpCase, primals: Mapping[str, Any], upstream: Any, dtype: str = "float64"):
    """Output and gradients of the torch twin at the same (possibly rounded) primals, computed in ``dtype``."""
    tensors = {
        k: torch.tensor(np.ascontiguousarray(v).astype(dtype) if v.dtype.kind == "f" else v) for k, v in primals.items()
    }
    wanted = {k: t.requires_grad_() for k, t in tensors.items() if t.is_floating_point() and not _label(c.op, k)}
    out = c.twin(*tensors.values(), **c.constants)
    gradients = torch.autograd.grad(out, list(wanted.values()), torch.tensor(np.asarray(upstream).astype(dtype)))
    return out.detach().numpy(), dict(zip(wanted, (g.numpy() for g in gradients), strict=True))


def _label(op: str, name: str) -> bool:
    return name == "y" and op != "network"
