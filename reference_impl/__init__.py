"""Backpropagation in NumPy, to be read beside the derivation.

Every op returns ``(out, pullback)``, forward and backward adjacent in one closure: ``pullback(upstream)`` gives one
gradient per positional argument, in order, ``None`` for labels and indices. Keyword arguments are constants.

Samples are rows and ``W`` is ``(n_out, n_in)``: ``Z = A @ W.T + b``. Losses are means over the batch unless told
otherwise. Axes in front of those that a docstring names are stacks: ``W`` (S, n_out, n_in) gives S results in one call.
A pullback changes nothing that it was given and returns fresh arrays in the dtype of the primals. It keeps
references to the primals and the output, so these must not be changed in place before it has been called.
Bad input raises ``ValueError`` naming the argument, its shape and what was expected.
"""

from reference_impl.activations import (
    ACTIVATIONS,
    activation,
    derivative,
    elu,
    gelu,
    gelu_tanh,
    identity,
    leaky_relu,
    mish,
    relu,
    sigmoid,
    silu,
    softplus,
    tanh,
    value_and_derivative,
)
from reference_impl.affine import affine, affine_example
from reference_impl.attention import attention
from reference_impl.calculus import (
    chain_rule,
    constant,
    constant_multiple,
    derivative_of_a_sum,
    exponential,
    extended_chain_rule,
    line,
    logarithm,
    multivariable_chain_rule,
    power,
    product,
    sum_rule,
    worked_example,
)
from reference_impl.checkpoint import Ledger, deep_network
from reference_impl.clipping import clip_by_norm, clip_by_value, clip_global_norm, gradient_norm
from reference_impl.conv import conv2d
from reference_impl.dropout import dropout, dropout_mask
from reference_impl.embedding import embedding
from reference_impl.initialisation import INITIALISATIONS, he, initial_parameters, xavier
from reference_impl.jacobians import (
    gradient,
    jacobian,
    jacobian_of_affine,
    jacobian_of_composition,
    jacobian_of_elementwise,
    pull_back,
)
from reference_impl.losses import (
    LOSSES,
    bce_with_logits,
    half_squared_error,
    huber,
    mse,
    softmax_cross_entropy,
    softmax_cross_entropy_two_step,
)
from reference_impl.network import Backpropagation, backpropagation, network, predict
from reference_impl.normalisation import batch_norm, batch_norm_eval, batch_statistics, layer_norm, standardise
from reference_impl.ops import OPS, Op
from reference_impl.pooling import max_pool2d, mean_pool2d
from reference_impl.recurrent import lstm, rnn
from reference_impl.residual import residual, residual_block
from reference_impl.softmax import log_softmax, softmax
from reference_impl.training import Trained, fit_classifier
from reference_impl.two_layer import TwoLayer, two_layer, two_layer_batch, two_layer_example

__all__ = [
    "ACTIVATIONS",
    "INITIALISATIONS",
    "LOSSES",
    "OPS",
    "Backpropagation",
    "Ledger",
    "Op",
    "Trained",
    "TwoLayer",
    "activation",
    "affine",
    "affine_example",
    "attention",
    "backpropagation",
    "batch_norm",
    "batch_norm_eval",
    "batch_statistics",
    "bce_with_logits",
    "chain_rule",
    "clip_by_norm",
    "clip_by_value",
    "clip_global_norm",
    "constant",
    "constant_multiple",
    "conv2d",
    "deep_network",
    "derivative",
    "derivative_of_a_sum",
    "dropout",
    "dropout_mask",
    "elu",
    "embedding",
    "exponential",
    "extended_chain_rule",
    "fit_classifier",
    "gelu",
    "gelu_tanh",
    "gradient",
    "gradient_norm",
    "half_squared_error",
    "he",
    "huber",
    "identity",
    "initial_parameters",
    "jacobian",
    "jacobian_of_affine",
    "jacobian_of_composition",
    "jacobian_of_elementwise",
    "layer_norm",
    "leaky_relu",
    "line",
    "log_softmax",
    "logarithm",
    "lstm",
    "max_pool2d",
    "mean_pool2d",
    "mish",
    "mse",
    "multivariable_chain_rule",
    "network",
    "power",
    "predict",
    "product",
    "pull_back",
    "relu",
    "residual",
    "residual_block",
    "rnn",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_two_step",
    "softplus",
    "standardise",
    "sum_rule",
    "tanh",
    "two_layer",
    "two_layer_batch",
    "two_layer_example",
    "value_and_derivative",
    "worked_example",
    "xavier",
]
