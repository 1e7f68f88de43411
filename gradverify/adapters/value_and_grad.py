"""One function that returns the loss and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.adapters._arrays import as_array, as_out, describe, given, is_module, is_tensor, shape_of
from gradverify.adapters._bind import arguments, run, signature, slots, who_is
from gradverify.adapters._containers import Containers
from gradverify.adapters._forgotten import beside
from gradverify.adapters._gradients import assign, fits, scaled, spelled
from gradverify.adapters._object_loss import LossObject
from gradverify.adapters._seeds import Randomness
from gradverify.adapters._tensors import Tensors, with_tensors
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Array, Arrays, Case, Gradients, Out, Pullback


@registry.adapter("value_and_grad")
class ValueAndGrad:
    """One function: fn(**primals, **constants) -> (loss, gradients), with the loss inside; or -> (out, pullback).

    fn         a function; or an object (or its bound method) with arrays and a loss method, ``net.loss(X, y=None)``,
               whose gradients are by the names of its arrays: these are primals too
    gradients  a mapping (``W1``, ``dW1``, ``grad_W1``, ...), a tuple or list in the order of the primals, or one array
    The pullback multiplies by the (scalar) upstream. Raises UsageError when ``fn`` is not callable.
    """

    framework = "numpy"
    priority = 10
    accepted = "one function that returns (loss, gradients): gv.verify(loss_and_grads, primals)"

    def __init__(self, fn: Callable[..., Any], *, name: str = "") -> None:
        self._object = LossObject.of(fn)
        if not callable(fn) and self._object is None:
            raise UsageError(f"value_and_grad needs a function that returns (loss, gradients), not {fn!r}")
        self._fn = fn
        self._names: list[str] | None = None
        self._without: list[str] = []  #: parameters of the object that no gradient is returned for
        self.tensors: Tensors | None = None
        self.traits = frozenset({"no-upstream"})
        self.unfed: frozenset[str] = frozenset()  #: what a network is fed and gives no gradient for; after a run
        self.name = name or who_is(fn if self._object is None else type(self._object.owner), "value_and_grad")

    @classmethod
    def accepts(cls, subject: object) -> bool:
        """A function, a bound method, or any other callable that is not a class."""
        called = callable(subject) or LossObject.of(subject) is not None
        return called and not isinstance(subject, type) and not is_module(subject)

    @classmethod
    def adapt(cls, subject: Any, **options: Any) -> ValueAndGrad:
        return cls(subject, **options)

    def over_arrays(self, containers: Containers) -> ValueAndGrad:
        """The same over arrays, where primals are containers of arrays."""
        return ValueAndGrad(containers.loss_and_gradients(self._fn), name=self.name)

    def parameters(self) -> dict[str, Array]:
        """The arrays on the object that the loss gives gradients for; known after ``prepare``."""
        if self._object is None:
            return {}
        found = self._object.arrays()
        return {n: np.array(found[n]) for n in self._names or []}

    def prepare(self, primals: Arrays, constants: Mapping[str, Any]) -> None:
        """One trial run, to see which arrays on the object have a gradient."""
        if self._object is None:
            return
        raw = self._seeded({n: np.array(v) for n, v in primals.items()}, constants)[0]
        self.pick(raw)
        keys = [str(k) for k in raw[1]] if isinstance(raw[1], Mapping) else []
        own = [n for n in self._object.arrays() if n not in primals]
        self._names = [n for n in own if spelled(n, keys)]
        together = beside(p for n in self._names for p in self._object.paths(n))
        alike = [n for n in own if n not in self._names and self._object.in_any(n, together)]
        self._without = [n for n in alike if self._matters(n, raw[0], primals, constants)]
        self._names += self._without
        self.unfed = frozenset(n for n in primals if n not in self._object.arrays() and not spelled(n, keys))

    def _matters(self, name: str, loss: Any, primals: Arrays, constants: Mapping[str, Any]) -> bool:
        """Whether the loss depends on the array of this name."""
        assert self._object is not None
        moved = {n: np.array(v) for n, v in primals.items()} | {name: self._object.arrays()[name] + 0.37}
        return not np.array_equal(self.pick(self._seeded(moved, constants)[0]), loss, equal_nan=True)

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The loss on foreign arrays, as they are."""
        return self.pick(self._run(primals, constants)[0])

    def pick(self, raw: Any) -> Any:
        """The loss within (loss, gradients)."""
        if not isinstance(raw, (tuple, list)) or len(raw) < 2:
            if is_tensor(raw):
                raise AdapterError(
                    f"{self.name} returned a torch tensor, and no gradients; for a function that torch differentiates "
                    f"write gv.verify(gv.torch_module({self.name}), primals)"
                )
            if hasattr(raw, "backward") and hasattr(raw, "grad"):
                kind = type(raw).__name__
                raise AdapterError(
                    f"{self.name} returned a {kind}, which has a backward of its own; write gv.tape(f, wrap={kind})"
                )
            if type(raw).__module__.split(".")[0] in ("jax", "jaxlib"):
                raise AdapterError(
                    f"{self.name} returned an array of jax, and no gradients; "
                    "for a function that jax differentiates write gv.verify(gv.jax_function(f), primals)"
                )
            raise AdapterError(
                f"{self.name} returned {describe(raw)}; expected (loss, gradients). "
                "For a forward and a backward write gv.verify((forward, backward), primals)"
            )
        return raw[0]

    def evaluate(self, case: Case) -> Out:
        """The loss alone."""
        return as_out(self.pick(self._seeded(given(case), case.constants)[0]), self.name)

    def result(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """What the function returns, the loss first."""
        return self._seeded(primals, constants)[0]

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Loss and gradients in one call; the pullback multiplies the gradients by its upstream."""
        raw, order, on_it = self._seeded(given(case), case.constants)
        self.pick(raw)
        if len(raw) == 2 and callable(raw[1]):
            return self._with_its_pullback(raw, case, order)
        out = as_array(raw[0], f"the loss of {self.name}")
        result = raw[1] if len(raw) == 2 else tuple(raw[1:])
        offered = case.primals
        if self._object is not None and isinstance(result, Mapping):  # a network gives none for what it is fed
            keys = [str(k) for k in result]
            own = [n for n in on_it if n not in self._without]
            offered = {n: v for n, v in case.primals.items() if n in own or spelled(n, keys)}
        if len(raw) > 2:
            result = _without_state(result, list(offered), order, offered)
        found = assign(result, offered, self.name, order)
        gradients: Gradients = {n: found.get(n) for n in case.primals}

        def pullback(upstream: Out) -> Gradients:
            return {n: scaled(upstream, out.shape, g, self.name) for n, g in gradients.items()}

        return out, pullback

    def _with_its_pullback(self, raw: Any, case: Case, order: list[str]) -> tuple[Out, Pullback]:
        """``fn`` returns (out, pullback), as jax.vjp does: the pullback takes an upstream."""
        self.traits = frozenset()
        out, back = as_out(raw[0], self.name), raw[1]

        def pullback(upstream: Out) -> Gradients:
            who = f"the pullback of {self.name}"
            handed = upstream if self.tensors is None else self.tensors.upstream(upstream, raw[0])
            return assign(run(who, back, handed), case.primals, who, order)

        return out, pullback

    def _seeded(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[Any, list[str], list[str]]:
        with Randomness().forward():
            found: tuple[Any, list[str], list[str]] = run(self.name, self._run, primals, constants)
        return found

    def _run(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[Any, list[str], list[str]]:
        """(what the function returned, names of its arguments in its own order, names set on its object)."""
        fn, on_it = (self._fn, []) if self._object is None else self._object.bound(primals)
        sig = signature(fn)
        fed = {n: v for n, v in primals.items() if n not in on_it}
        places = slots(sig, list(fed), list(constants), who=self.name)
        by_parameter = {p: n for n, p in places.items()}

        def attempt(values: Mapping[str, Any]) -> Any:
            args, kwargs = arguments(sig, places, values)
            return fn(*args, **kwargs)

        raw = with_tensors(self, attempt, fed, constants)
        return _loss_first(raw), [by_parameter[p] for p in sig.names if p in by_parameter], on_it


def _loss_first(raw: Any) -> Any:
    """``(gradients, cost)`` in the usual order: a mapping or list is no loss."""
    if isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[0], (Mapping, list, tuple)):
        number = not isinstance(raw[1], (Mapping, list, tuple, str)) and shape_of(raw[1]) in ((), (1,), (1, 1))
        return (raw[1], raw[0]) if number else raw
    return raw


def _without_state(values: tuple[Any, ...], names: list[str], order: list[str], primals: Arrays) -> tuple[Any, ...]:
    """``loss, dW, db, hprev``: what follows the gradients, if the first ones have the shapes of the primals."""
    own = [n for n in order if n in primals]
    for wanted in (names, own):
        more = len(wanted) == len(primals) < len(values) and len(values) != len(order)
        if more and fits(wanted, values[: len(wanted)], primals):
            return values[: len(wanted)]
    return values
