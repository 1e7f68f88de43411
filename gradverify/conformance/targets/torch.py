"""PyTorch as a target: the catalogue in torch's own functions, differentiated by torch's own engine.

    pytest --pyargs gradverify.conformance --gradverify-target=gradverify.conformance.targets.torch:target
    ... --gradverify-device=cuda

Needs the extra ``torch``. Known differences are in ``torch.toml`` beside this file: ``--gradverify-waivers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradverify.conformance.target import Capabilities
from gradverify.conformance.targets._namespace import rules
from gradverify.errors import UsageError, need
from gradverify.types import Array, Case, Gradients, Out, Pullback

Named = Mapping[str, Any]
Forward = Callable[[Named, Named], Any]  #: (primals, constants) as tensors -> output tensor


class TorchTarget:
    """Every op as a composition of ``torch`` and ``torch.nn.functional``. Raises UsageError where there is no CUDA."""

    framework = "torch"
    traits = frozenset({"engine"})

    def __init__(self, device: str = "cpu") -> None:
        self.torch = need("torch", "torch", "the torch target")
        if device.startswith("cuda") and not self.torch.cuda.is_available():
            raise UsageError(f"device={device!r}: torch sees no CUDA device here")
        if device.startswith("cuda"):
            full_float32(self.torch)
        self.device = device
        self.name = "torch" if device == "cpu" else f"torch on {device}"
        self.capabilities = Capabilities(devices=("cpu", "cuda"))
        self.ops = table(self.torch)

    def supports(self, case: Case) -> bool:
        """Whether the table has the op."""
        return case.op in self.ops

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """The op on leaves that require a gradient, and ``torch.autograd.grad`` as its pullback."""
        primals = {k: self._tensor(v) for k, v in case.thawed().items()}
        wanted = {k: v.requires_grad_() for k, v in primals.items() if v.is_floating_point()}
        constants = {k: self._tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.constants.items()}
        out = self.ops[case.op](primals, constants)

        def pullback(upstream: Out) -> Gradients:
            u = self._tensor(upstream).to(out.dtype)
            found = self.torch.autograd.grad(
                out, list(wanted.values()), u, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            by_name = dict(zip(wanted, found, strict=True))
            return {k: _array(by_name[k]) if k in by_name else None for k in case.primals}

        return _array(out), pullback

    def _tensor(self, value: Any) -> Any:
        # torch has no negative strides and warns of read-only memory, so that a copy is what a user would make too
        return self.torch.tensor(np.array(value, order="C"), device=self.device)


def full_float32(torch: Any) -> None:
    """Convolutions of cuDNN in float32, not in the ten bits of TF32 that they have by default."""
    convolution: Any = getattr(torch.backends.cudnn, "conv", None)
    if hasattr(convolution, "fp32_precision"):
        convolution.fp32_precision = "ieee"
    else:  # before torch 2.9
        torch.backends.cudnn.allow_tf32 = False


def _array(tensor: Any) -> Array:
    found: Array = tensor.detach().cpu().numpy()
    return found


def table(torch: Any) -> dict[str, Forward]:
    """The forward of every op."""
    F = torch.nn.functional
    act: dict[str, Callable[..., Any]] = {
        "identity": lambda z: z.clone(),
        "relu": F.relu,
        "leaky_relu": lambda z, alpha=0.01: F.leaky_relu(z, alpha),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "gelu": F.gelu,
        "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
        "silu": F.silu,
        "elu": lambda z, alpha=1.0: F.elu(z, alpha),
        "softplus": F.softplus,
        "mish": F.mish,
    }

    def reduced(losses: Any, how: str) -> Any:
        return losses if how == "none" else getattr(losses, how)()

    def half(A: Any, Y: Any, how: str) -> Any:
        return reduced(0.5 * F.mse_loss(A, Y, reduction="none").sum(-1), how)

    def two_step(z: Any, y: Any, how: str) -> Any:
        log_p = torch.log(torch.softmax(z, -1))
        return F.nll_loss(log_p, y, reduction=how) if y.ndim == 1 else reduced(-(y * log_p).sum(-1), how)

    def layers(p: Named) -> list[tuple[Any, Any]]:
        return [(p[f"W{k}"], p[f"b{k}"]) for k in range(1, len(p)) if f"W{k}" in p]

    def stack(p: Named, sigma: Any) -> Any:
        a, parameters = p["X"], layers(p)
        names = [sigma] * len(parameters) if isinstance(sigma, str) else sigma
        for (W, b), name in zip(parameters, names, strict=True):
            a = act[name](F.linear(a, W, b))
        return a

    def network(p: Named, c: Named) -> Any:
        a, y, how = stack(p, c.get("activations", "sigmoid")), {**p, **c}["y"], c.get("reduction", "mean")
        return F.cross_entropy(a, y, reduction=how) if c.get("loss") == "softmax_cross_entropy" else half(a, y, how)

    def standardise(x: Any, axis: int, eps: float) -> Any:
        x = x.movedim(axis, -1)
        return F.layer_norm(x, x.shape[-1:], eps=eps).movedim(-1, axis)

    def norm(p: Named, c: Named) -> Any:
        return F.layer_norm(p["X"], p["X"].shape[-1:], p["gamma"], p["beta"], c.get("eps", 1e-5))

    def batch_norm(p: Named, c: Named) -> Any:
        mean, var, eps = c.get("mean"), c.get("var"), c.get("eps", 1e-5)
        return F.batch_norm(p["X"], mean, var, p["gamma"], p["beta"], training=mean is None, eps=eps)

    def clip_by_norm(p: Named, c: Named) -> Any:
        return p["G"] * torch.clamp(c.get("max_norm", 1.0) / torch.linalg.vector_norm(p["G"]), max=1.0)

    def rnn(p: Named, c: Named) -> Any:
        h, out = p["h0"], []
        for x in p["X"]:
            h = torch.rnn_tanh_cell(x, h, p["Wx"], p["Wh"], p["b"], torch.zeros_like(p["b"]))
            out.append(h)
        return torch.stack(out)

    def lstm(p: Named, c: Named) -> Any:
        h, state, out = p["h0"], p["c0"], []
        for x in p["X"]:
            h, state = torch.lstm_cell(x, (h, state), p["Wx"], p["Wh"], p["b"], torch.zeros_like(p["b"]))
            out.append(h)
        return torch.stack(out)

    def by(c: Named) -> str:
        return str(c.get("reduction", "mean"))

    def z(f: Callable[..., Any]) -> Forward:
        return lambda p, c: f(p["z"], **c)

    ops: dict[str, Forward] = {
        **{name: z(f) for name, f in act.items()},
        "affine": lambda p, _: F.linear(p["A"], p["W"], p["b"]),
        "affine_example": lambda p, _: F.linear(p["a"], p["W"], p["b"]),
        "softmax": lambda p, c: torch.softmax(p["z"], c.get("axis", -1)),
        "log_softmax": lambda p, c: torch.log_softmax(p["z"], c.get("axis", -1)),
        "half_squared_error": lambda p, c: half(p["A"], p["Y"], by(c)),
        "mse": lambda p, c: F.mse_loss(p["A"], p["Y"], reduction=by(c)),
        "huber": lambda p, c: F.huber_loss(p["A"], p["Y"], reduction=by(c), delta=c.get("delta", 1.0)),
        "bce_with_logits": lambda p, c: F.binary_cross_entropy_with_logits(p["z"], c["y"], reduction=by(c)),
        "softmax_cross_entropy": lambda p, c: F.cross_entropy(p["z"], c["y"], reduction=by(c)),
        "softmax_cross_entropy_two_step": lambda p, c: two_step(p["z"], c["y"], by(c)),
        "two_layer": lambda p, c: half(stack(p, c.get("sigma", "sigmoid")), p["Y"], "mean"),
        "network": network,
        "deep_network": lambda p, c: stack(p, c.get("activations", "tanh")),
        "residual_block": lambda p, c: p["X"] + stack(p, (c.get("sigma", "relu"), "identity")),
        "standardise": lambda p, c: standardise(p["x"], c.get("axis", -1), c.get("eps", 1e-5)),
        "layer_norm": norm,
        "batch_norm": batch_norm,
        "batch_norm_eval": batch_norm,
        "clip_by_value": lambda p, c: torch.clamp(p["G"], -c["limit"], c["limit"]),
        "clip_by_norm": clip_by_norm,
        "dropout": lambda p, c: p["X"] * c["mask"] / (1 - c.get("rate", 0.5)),
        "embedding": lambda p, c: F.embedding(c["indices"], p["table"]),
        "conv2d": lambda p, c: F.conv2d(p["X"], p["W"], p["b"], c.get("stride", 1), c.get("padding", 0)),
        "max_pool2d": lambda p, c: F.max_pool2d(p["X"], c.get("size", 2), c.get("stride")),
        "mean_pool2d": lambda p, c: F.avg_pool2d(p["X"], c.get("size", 2), c.get("stride")),
        "rnn": rnn,
        "lstm": lstm,
        "attention": lambda p, c: F.scaled_dot_product_attention(p["Q"], p["K"], p["V"], attn_mask=c.get("mask")),
        **rules(torch),
    }
    return ops


target = TorchTarget
