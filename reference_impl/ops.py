"""Every op by name: ``OPS[name]``, so that a checker or a table can drive them all in one way."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reference_impl import activations as act
from reference_impl import calculus, clipping, losses, normalisation, pooling, recurrent
from reference_impl.affine import affine, affine_example
from reference_impl.attention import attention
from reference_impl.checkpoint import deep_network
from reference_impl.conv import conv2d
from reference_impl.dropout import dropout
from reference_impl.embedding import embedding
from reference_impl.network import network
from reference_impl.residual import residual_block
from reference_impl.shapes import Array, ArrayLike, Function, Pullback, pick
from reference_impl.softmax import log_softmax, softmax
from reference_impl.two_layer import two_layer

BEYOND = "beyond the derivation"


@dataclass(frozen=True)
class Op:
    """One op: ``fn(*primals, **constants) -> (out, pullback)``.

    primals    names of the positional arguments; the pullback returns one gradient for each, in this order, and
               ``None`` for labels and indices
    constants  names of the keyword arguments
    section    the section of the derivation, or "beyond the derivation"
    axes       how many axes each primal has without stacks, ``None`` for labels (never stacked); ``None`` in all if
               the op has no notion of a stack
    """

    name: str
    fn: Function
    primals: tuple[str, ...]
    constants: tuple[str, ...]
    section: str
    axes: tuple[int | None, ...] | None

    def vjp(self, arguments: Mapping[str, Any]) -> tuple[Array, Callable[[ArrayLike], dict[str, Any]]]:
        """The op at arguments given by name: ``(out, pullback)`` with ``pullback(upstream) -> {primal: gradient}``.

        Raises ValueError for a missing or unknown name.
        """
        for name in arguments:
            pick(f"argument of {self.name}", name, (*self.primals, *self.constants))
        missing = [name for name in self.primals if name not in arguments]
        if missing:
            raise ValueError(f"{self.name}: {', '.join(missing)} not given, expected {', '.join(self.primals)}")
        constants = {k: v for k, v in arguments.items() if k in self.constants}
        out, pullback = self.fn(*(arguments[k] for k in self.primals), **constants)

        def by_name(upstream: ArrayLike) -> dict[str, Any]:
            return dict(zip(self.primals, pullback(upstream), strict=True))

        return out, by_name

    def stacks(self, *ndims: int) -> bool:
        """Whether primals with ``ndims`` axes may get one more axis in front, some or all of them.

        The result is then the stack of the results, which makes finite differences one call.
        """
        if self.axes is None:
            return False
        in_front = {n - own for n, own in zip(ndims, self.axes, strict=True) if own is not None}
        return len(in_front) == 1 and min(in_front) >= 0


def _cube_plus_exponential(x: ArrayLike) -> tuple[Array, Pullback]:
    """Rule: y = x^3 + e^x, dy/dx = 3 x^2 + e^x: the sum rule. x  any shape."""
    return calculus.sum_rule(lambda x: calculus.power(x, n=3), calculus.exponential)(x)


def _seven_exponentials(x: ArrayLike) -> tuple[Array, Pullback]:
    """Rule: y = 7 e^x, dy/dx = 7 e^x: the constant multiple. x  any shape."""
    return calculus.constant_multiple(7.0, calculus.exponential)(x)


def _log_exp_square(x: ArrayLike) -> tuple[Array, Pullback]:
    """Rule: y = ln e^(x^2), dy/dx = 2x: the chain rule for a longer composition. x  any shape."""
    return calculus.extended_chain_rule(calculus.logarithm, calculus.exponential, calculus.power)(x)


def _square_times_exponential(x: ArrayLike) -> tuple[Array, Pullback]:
    """Rule: z = y1 y2 with y1 = x^2, y2 = e^x, dz/dx = 2x e^x + x^2 e^x: several variables. x  any shape."""
    return calculus.multivariable_chain_rule(calculus.product, calculus.power, calculus.exponential)(x)


def _powers(x: ArrayLike) -> tuple[Array, Pullback]:
    """Rule: z = x + x^2 + x^3, dz/dx = 1 + 2x + 3x^2: the derivative of a sum. x  any shape."""
    return calculus.derivative_of_a_sum(*(lambda x, n=n: calculus.power(x, n=n) for n in (1, 2, 3)))(x)


def _op(
    name: str, fn: Function, section: str, axes: tuple[int | None, ...] | None, variadic: tuple[str, ...] = ()
) -> Op:
    """Names of primals and constants are read from the signature; ``variadic`` names the arrays of ``*parameters``."""
    primals: list[str] = []
    constants: list[str] = []
    for parameter in inspect.signature(fn).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            primals += variadic
        elif parameter.kind is parameter.KEYWORD_ONLY:
            constants.append(parameter.name)
        else:
            primals.append(parameter.name)
    return Op(name, fn, tuple(primals), tuple(constants), section, axes)


_REVIEW = "Single-Variable Derivatives"
_COMBINED = "Softmax and Cross-Entropy: Combined Gradient"
_BATCH = "Vectorization for Batches"
_VANISHING = "Vanishing Gradients"
_EXPLODING = "Exploding Gradients"
_THREE = ("W1", "b1", "W2", "b2", "W3", "b3")  # any depth in fact; three layers are what the name drives

_TABLE = (
    _op("power", calculus.power, _REVIEW, (0,)),
    _op("exponential", calculus.exponential, _REVIEW, (0,)),
    _op("logarithm", calculus.logarithm, _REVIEW, (0,)),
    _op("constant", calculus.constant, _REVIEW, (0,)),
    _op("constant_multiple", _seven_exponentials, _REVIEW, (0,)),
    _op("sum_rule", _cube_plus_exponential, _REVIEW, (0,)),
    _op("chain_rule", calculus.worked_example, "The Chain Rule", (0,)),
    _op("extended_chain_rule", _log_exp_square, "The Chain Rule", (0,)),
    _op("multivariable_chain_rule", _square_times_exponential, "Multivariable Derivatives", (0,)),
    _op("derivative_of_a_sum", _powers, "Derivative of a Sum", (0,)),
    _op("product", calculus.product, "Multivariable Derivatives", (0, 0)),
    _op("affine", affine, _BATCH, (2, 2, 1)),
    _op("affine_example", affine_example, "Output Layer Gradients", (1, 2, 1)),
    _op("identity", act.identity, BEYOND, (0,)),
    _op("relu", act.relu, "ReLU", (0,)),
    _op("leaky_relu", act.leaky_relu, "Leaky ReLU", (0,)),
    _op("sigmoid", act.sigmoid, "Sigmoid", (0,)),
    _op("tanh", act.tanh, "Tanh", (0,)),
    _op("gelu", act.gelu, BEYOND, (0,)),
    _op("gelu_tanh", act.gelu_tanh, BEYOND, (0,)),
    _op("silu", act.silu, BEYOND, (0,)),
    _op("elu", act.elu, BEYOND, (0,)),
    _op("softplus", act.softplus, BEYOND, (0,)),
    _op("mish", act.mish, BEYOND, (0,)),
    _op("softmax", softmax, _COMBINED, (1,)),
    _op("log_softmax", log_softmax, _COMBINED, (1,)),
    _op("half_squared_error", losses.half_squared_error, "Setup: Two-Layer Network", (2, 2)),
    _op("mse", losses.mse, BEYOND, (2, 2)),
    _op("huber", losses.huber, BEYOND, (2, 2)),
    _op("bce_with_logits", losses.bce_with_logits, _COMBINED, (2, None)),
    _op("softmax_cross_entropy", losses.softmax_cross_entropy, _COMBINED, (2, None)),
    _op("softmax_cross_entropy_two_step", losses.softmax_cross_entropy_two_step, "Computational Efficiency", (2, None)),
    _op("two_layer", two_layer, "Summary of the Two-Layer Derivation", (2, 2, 2, 1, 2, 1)),
    _op("network", network, "The Backpropagation Algorithm", (2, None, 2, 1, 2, 1, 2, 1), variadic=_THREE),
    _op("deep_network", deep_network, "Memory Complexity", (2, 2, 1, 2, 1, 2, 1), variadic=_THREE),
    _op("standardise", normalisation.standardise, BEYOND, (1,)),
    _op("batch_norm", normalisation.batch_norm, _VANISHING, (2, 1, 1)),
    _op("batch_norm_eval", normalisation.batch_norm_eval, _VANISHING, (2, 1, 1)),
    _op("layer_norm", normalisation.layer_norm, _VANISHING, (2, 1, 1)),
    _op("residual_block", residual_block, _VANISHING, (2, 2, 1, 2, 1)),
    _op("clip_by_value", clipping.clip_by_value, _EXPLODING, (0,)),
    _op("clip_by_norm", clipping.clip_by_norm, _EXPLODING, None),
    _op("dropout", dropout, BEYOND, (0,)),
    _op("conv2d", conv2d, BEYOND, (4, 4, 1)),
    _op("max_pool2d", pooling.max_pool2d, BEYOND, (2,)),
    _op("mean_pool2d", pooling.mean_pool2d, BEYOND, (2,)),
    _op("embedding", embedding, BEYOND, (2, None)),
    _op("rnn", recurrent.rnn, BEYOND, (3, 2, 2, 2, 1)),
    _op("lstm", recurrent.lstm, BEYOND, (3, 2, 2, 2, 2, 1)),
    _op("attention", attention, BEYOND, (2, 2, 2)),
)

OPS: dict[str, Op] = {op.name: op for op in _TABLE}
