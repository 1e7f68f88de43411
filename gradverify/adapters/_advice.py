"""What to write for a subject that no adapter takes as it is: said in place of the list of everything."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from gradverify.adapters._bind import signature, who_is
from gradverify.adapters._methods import BACKWARD, DERIVATIVE, FORWARD, LOSS, has

TRAINING = (
    "train_step", "training_step", "train_on_batch", "partial_fit", "fit", "train", "step", "update", "optimize",
    "learn",
)  # fmt: skip
OUTPUT = (*FORWARD, "predict_proba", "decision_function", "hypothesis", "output", "net")
SLOPES = (
    "d{}", "{}_prime", "{}_derivative", "{}_deriv", "{}_grad", "{}_backward", "grad_{}", "d_{}", "{}_d", "{}prime",
)  # fmt: skip


def advice(subject: Any) -> str:
    """What to write, or nothing where there is nothing to say."""
    if isinstance(subject, (types.ModuleType, Mapping)):
        return _of_functions(subject)
    if isinstance(subject, (list, tuple)):
        return _of_layers(subject)
    if isinstance(subject, type):
        return _of_static_functions(subject)
    return _of_training(subject)


def order_of(pair: Any) -> str:
    """What to write where a pair of functions has the backward in front, as their names say."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(callable(f) for f in pair):
        return ""
    first, second = (who_is(f, "").casefold() for f in pair)
    if "backward" in first and "forward" in second:
        return f"{first} comes before {second}; write gv.verify(({second}, {first}), primals)"
    return ""


def _of_functions(subject: Any) -> str:
    """A module, or a mapping of functions: those that belong together by their names."""
    named = subject if isinstance(subject, Mapping) else vars(subject)
    found = {str(k): v for k, v in named.items() if callable(v) and not isinstance(v, type)}
    pairs = [(k, k.replace("forward", "backward")) for k in found if "forward" in k]
    pairs += [(k, s.format(k)) for k in found for s in SLOPES]
    for one, other in pairs:
        if other in found and one != other:
            said = [f"[{n!r}]" if isinstance(subject, Mapping) else f".{n}" for n in (one, other)]
            it = getattr(subject, "__name__", "functions").rpartition(".")[2]
            return f"it holds functions; say which: gv.verify(({it}{said[0]}, {it}{said[1]}), primals)"
    return ""


def _of_layers(subject: Any) -> str:
    if len(subject) < 1 or not all(has(layer, FORWARD) and has(layer, (*BACKWARD, *DERIVATIVE)) for layer in subject):
        return ""
    return (
        "a list of layers is driven by an object whose forward runs them in order and whose backward in reverse: "
        "class Net: def forward(self, x): for layer in self.layers: x = layer.forward(x); return x (and backward alike)"
    )


def _of_static_functions(subject: type) -> str:
    held = {k: v for k, v in vars(subject).items() if isinstance(v, (staticmethod, classmethod))}
    for one in held:
        for other in (s.format(one) for s in SLOPES):
            if other in held:
                it = subject.__name__
                return f"it holds functions; say which: gv.verify(({it}.{one}, {it}.{other}), primals)"
    return ""


def _of_training(subject: Any) -> str:
    """An object that trains itself: the gradient is the step that it takes."""
    step = has(subject, TRAINING)
    if not step:
        return ""
    output = has(subject, OUTPUT) or "predict"
    loss = has(subject, LOSS)
    names = [n for n in signature(getattr(subject, step)).names if n.lower() not in ("x", "inputs", "lr", "epochs")]
    target = names[0] if names else "y"
    said = repr(loss) if loss else f"lambda out, {target}: the loss that it minimises"
    return (
        f"it trains itself in {step}; say what it minimises, and the gradient is read from one plain step: "
        f"gv.layer(obj, forward={output!r}, backward={step!r}, loss={said}), with its data as constants"
    )
