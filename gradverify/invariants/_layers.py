"""Networks as lists of layers, by the names of the catalogue: W1, b1, W2, b2, ..."""

from __future__ import annotations

from collections.abc import Sequence

from gradverify.types import Case

OPS = ("two_layer", "network", "deep_network", "residual_block")
DEFAULT = {"two_layer": "sigmoid", "network": "sigmoid", "deep_network": "tanh", "residual_block": "relu"}
HOMOGENEOUS = ("relu", "leaky_relu", "identity")  #: sigma(c z) = c sigma(z) for c > 0


def depth(case: Case) -> int:
    """How many layers W1 .. WL a case has."""
    layers = 0
    while f"W{layers + 1}" in case.primals and f"b{layers + 1}" in case.primals:
        layers += 1
    return layers


def activations(case: Case) -> list[str]:
    """The activation of each layer; the last layer of a residual block has none."""
    said = case.constants.get("activations", case.constants.get("sigma", DEFAULT.get(case.op, "")))
    names = [said] * depth(case) if isinstance(said, str) else [str(s) for s in _listed(said)]
    if case.op == "residual_block":
        names[-1:] = ["identity"]
    return names


def _listed(said: object) -> Sequence[object]:
    return list(said) if isinstance(said, Sequence) else []


def loss(case: Case) -> str:
    """The op that the network ends in, "" for none."""
    if case.op == "two_layer":
        return "half_squared_error"
    return str(case.constants.get("loss", "half_squared_error")) if case.op == "network" else ""


def target(case: Case) -> str:
    """The name of the target: Y in ``two_layer``, y in ``network``."""
    return "Y" if case.op == "two_layer" else "y"


def is_network(case: Case) -> bool:
    """True for an op of the catalogue with layers that can be told apart."""
    return case.op in OPS and depth(case) >= 1 and len(activations(case)) == depth(case)


def has_hidden(case: Case) -> bool:
    """True when there is a hidden layer of two units or more."""
    return is_network(case) and any(case.primals[f"W{k}"].shape[0] >= 2 for k in range(1, depth(case)))
