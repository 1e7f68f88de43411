"""Which methods of an object are its forward, its backward and its loss, and how they are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradverify.adapters._arrays import shape_of
from gradverify.adapters._bind import TARGETS, Signature, aliases_of, arguments, hint, is_target, signature, slots
from gradverify.adapters._outputs import MISSING, by_parameter, split
from gradverify.adapters._roles import UPSTREAM, Roles, fill, roles
from gradverify.adapters._tensors import Tensors
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Out

FORWARD = (
    "calculate", "forward", "forward_pass", "forward_propagation", "forward_prop", "feedforward", "feed_forward",

    "fprop", "updateOutput", "predict", "__call__", "function", "func", "fn", "activate", "activation", "apply",
)  # fmt: skip
BACKWARD = (
    "backward", "backward_pass", "backward_propagation", "backward_prop", "backprop", "back_prop", "back_propagation",
    "backpropagate", "backpropagation", "bprop", "updateGradInput",
)  # fmt: skip
DERIVATIVE = ("gradient", "grad", "derivative", "deriv", "prime", "gradients", "compute_gradients", "derivate", "delta")
LOSS = (
    "loss", "compute_loss", "calculate_loss", "calc_loss", "get_loss", "loss_fn", "loss_function", "loss_func", "cost",
    "compute_cost", "calculate_cost", "cost_function", "criterion", "objective",
)  # fmt: skip
LOSS_CLASS = re.compile(r"loss|cost|entropy|mse|mae|error|criterion|likelihood", re.IGNORECASE)


def has(subject: object, names: tuple[str, ...]) -> str:
    """The first of ``names`` that is a method of an object or class; ``__call__`` counts where user code defines it."""
    cls = subject if isinstance(subject, type) else type(subject)
    for n in names:
        if (n != "__call__" or any(n in c.__dict__ for c in cls.__mro__)) and callable(getattr(subject, n, None)):
            return n
    return ""


@dataclass(frozen=True, kw_only=True)
class Methods:
    """How one object is called with given names of inputs and constants.

    loss      the method that evaluates the loss, or a callable ``loss(out, **constants)``; "" when the output of the
              forward is what is differentiated
    implicit  backward takes no upstream gradient
    by_place  ``gradient(y, y_pred)``: backward takes what the forward takes, in the same manner
    """

    forward: str
    backward: str
    loss: str | Callable[..., Any]
    table: Roles
    implicit: bool
    by_place: bool
    order: tuple[str, ...]  #: the forward's own order of inputs and constants
    tensors: Tensors | None = None  #: torch code: what it is handed
    twin: bool = False  #: backward takes what forward takes, and its first argument is a prediction, no upstream

    @property
    def runs_its_own_forward(self) -> bool:
        """Whether backward takes all that the forward takes and no upstream: it belongs to no earlier forward."""
        return self.implicit and bool(self.order) and set(self.order) <= self.taken_by_backward

    @property
    def taken_by_backward(self) -> set[str]:
        """The inputs and constants that backward is given again."""
        if self.by_place:
            return set(self.order)
        return {name for role in self.table.of.values() for kind, _, name in (role.partition(":"),) if name}

    def output(self, obj: Any, inputs: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[Any, Any]:
        """(output or loss, cache) of a forward with the values as they are."""
        if self.tensors is not None:
            inputs = self.tensors.primals(inputs)
            constants = self.tensors.constants(constants, inputs)
        values = {**constants, **inputs}
        loss = _loss_callable(obj, self.loss) if self.loss else None
        if loss is not None and inputs and all(n in signature(loss).names for n in inputs):
            return _call_loss(loss, None, values, constants), MISSING  # loss(X, y) runs the forward itself
        fn = getattr(obj, self.forward)
        sig = signature(fn)
        spare = {*constants} if self.loss or self.implicit else {*self.table.of, *_constants_of(self.table)}
        args, kwargs = arguments(sig, slots(sig, list(inputs), list(constants), who=self.forward, spare=spare), values)
        raw = fn(*args, **kwargs)
        out, cache = split(raw, self.table, one_output=self.implicit)
        if out is None:
            out = left_on(obj, OUTPUTS)
        return (out if loss is None else _call_loss(loss, out, values, constants)), cache

    def gradient(
        self,
        obj: Any,
        upstream: Out,
        out: Any,
        cache: Any,
        inputs: Mapping[str, Any],
        constants: Mapping[str, Any],
        *,
        rate: Any = None,
    ) -> Any:
        """What backward returns."""
        if self.tensors is not None:
            inputs = self.tensors.primals(inputs)
            constants = self.tensors.constants(constants, inputs)
            upstream = self.tensors.upstream(upstream, out)
        fn = getattr(obj, self.backward)
        if self.by_place:
            sig = signature(fn)
            inputs = _as_predicted(obj, inputs) if self.twin else inputs
            places = slots(sig, list(inputs), list(constants), who=self.backward, spare=set(constants))
            args, kwargs = arguments(sig, places, {**constants, **inputs})
        else:
            args, kwargs = fill(
                self.table,
                upstream=by_parameter(self.table, upstream),
                primals=inputs,
                constants=constants,
                out=out,
                cache=cache,
                has_cache=cache is not MISSING,
                who=self.backward,
                rate=rate,
            )
        return fn(*args, **kwargs)


OUTPUTS = ("output", "outputs", "out", "activation", "a", "A", "y", "Y", "result", "z", "Z")


PREDICTED = ("output", "outputs", "predictions", "y_pred", "probs", "probabilities")


def left_on(obj: Any, names: tuple[str, ...]) -> Any:
    """The first attribute of these names that is there and not None."""
    return next((v for n in names if (v := getattr(obj, n, None)) is not None and not callable(v)), None)


def _as_predicted(obj: Any, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The only input, or what the forward made of it and left in ``self.output``, of the same shape: its softmax."""
    if len(inputs) != 1:
        return inputs
    ((name, given),) = inputs.items()
    made = left_on(obj, PREDICTED)
    return {name: made} if made is not None and shape_of(made) == shape_of(given) else inputs


def methods_of(
    obj: Any,
    inputs: list[str],
    constants: list[str],
    *,
    forward: str = "",
    backward: str = "",
    loss: str | Callable[..., Any] | None = None,
) -> Methods:
    """Read an object. ``inputs`` are the primals that are not on the object. Raises UsageError or AdapterError."""
    forward = _method(obj, forward, (*FORWARD, *LOSS), "forward")
    backward = _method(obj, backward, (*BACKWARD, *DERIVATIVE), "backward")
    if isinstance(loss, str):
        _method(obj, loss, LOSS, "loss")
    fsig, bsig = signature(getattr(obj, forward)), signature(getattr(obj, backward))
    places = slots(fsig, inputs, constants, who=forward, spare=constants)
    aliases = aliases_of(places)
    unused = [c for c in constants if c not in places and c not in bsig.names]
    targets = [p for p in bsig.names if (p in TARGETS or p in ("y", "Y")) and p not in aliases]
    aliases |= dict(zip(targets, unused, strict=False))
    twin = _takes_prediction(obj, fsig, bsig)
    upstream_like = [p for p in bsig.names if UPSTREAM.match(p) and p not in {*aliases, *inputs, *constants}]
    by_place = twin or (backward in DERIVATIVE and not upstream_like and bool(bsig.required))
    table = roles(bsig, inputs, constants, upstream=not by_place, aliases=aliases)
    if not by_place and not table.takes_upstream and not loss and not has(obj, LOSS):
        table = _same_name(table, bsig)
    implicit = by_place or not table.takes_upstream
    if loss is None:
        needs_more = any(c not in places for c in constants)  # predict(x), loss(x, t), gradient(x, t)
        wanted = implicit and forward not in LOSS and (not by_place or (needs_more and not twin))
        loss = next((n for n in LOSS if hasattr(obj, n) and _is_loss(getattr(obj, n))), "") if wanted else ""
    order = tuple(aliases[p] for p in fsig.names if p in aliases and aliases[p] in places)
    return Methods(
        forward=forward, backward=backward, loss=loss, table=table, implicit=implicit, by_place=by_place, order=order,
        twin=twin,
    )  # fmt: skip


def _same_name(table: Roles, sig: Signature) -> Roles:
    """``forward(X)`` with ``backward(X)`` and no loss anywhere: the only argument of the backward is its upstream."""
    only = [p for p in sig.names if p in sig.required]
    if len(only) == 1 and table.of[only[0]].startswith("primal:"):
        return replace(table, of={**table.of, only[0]: "upstream"})
    return table


def _method(obj: object, asked: str, usual: tuple[str, ...], what: str) -> str:
    if asked and not callable(getattr(obj, asked, None)):
        methods = [n for n in dir(type(obj)) if not n.startswith("_") and callable(getattr(type(obj), n, None))]
        raise UsageError(f"{type(obj).__name__} has no method {asked!r}{hint(asked, methods)}")
    found = asked or has(obj, usual)
    if not found:
        raise AdapterError(
            f"{type(obj).__name__} has no {what} method under a usual name ({', '.join(usual[:4])}, ...); "
            f"say which: gv.layer(obj, {what}='...')"
        )
    return found


def _is_loss(thing: Any) -> bool:
    return callable(thing) or (hasattr(thing, "__dict__") and bool(has(thing, (*FORWARD, *LOSS))))


def _loss_callable(obj: Any, loss: str | Callable[..., Any]) -> Callable[..., Any]:
    """A loss method of the object, or the method of a loss object or class that it keeps."""
    thing = getattr(obj, loss) if isinstance(loss, str) else loss
    if callable(thing) and not isinstance(thing, type):
        return thing
    name = has(thing, (*FORWARD, *LOSS))
    found: Callable[..., Any] = getattr(thing, name)
    return found


def _call_loss(loss: Callable[..., Any], out: Any, values: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
    """The loss may take the inputs, the output, the targets, or nothing; by name, else targets last."""
    sig = signature(loss)
    found = {p: values[p] for p in sig.names if p in values}
    rest = [v for n, v in constants.items() if n not in found]
    positional = [out, *rest] if sig.opaque else []
    for p in [p for p in sig.names if p in sig.required and p not in found]:
        if rest and (out is None or is_target(p, sig.names) or p in ("y", "Y")):
            found[p] = rest.pop(0)
        elif out is not None:
            found[p], out = out, None
        else:
            raise AdapterError(f"the loss takes {sig} but {p} is missing; given: {', '.join(values)} and the output")
    for p in sig.names:
        if p not in found or p in sig.keyword_only:
            break
        positional.append(found.pop(p))
    raw = loss(*positional, **found)
    return raw[0] if isinstance(raw, tuple) else raw


def _constants_of(table: Roles) -> set[str]:
    return {r.partition(":")[2] for r in table.of.values() if r.startswith("constant:")}


def _takes_prediction(obj: Any, fsig: Signature, bsig: Signature) -> bool:
    """``Loss.forward(y_pred, y_true)`` with ``Loss.backward(dvalues, y_true)``: dvalues are the predictions."""
    two = len(bsig.names) == 2 and len([p for p in fsig.names if p in fsig.required]) == 2
    named = two and sum(is_target(p, (*bsig.names, "y_pred")) for p in bsig.names) == 1
    return named and bool(LOSS_CLASS.search(type(obj).__name__))
