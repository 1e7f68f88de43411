"""One function that returns the loss and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradverify import registry
from gradverify.adapters._arrays import as_array, as_out, describe, given, is_module
from gradverify.adapters._bind import arguments, run, signature, slots, who_is
from gradverify.adapters._gradients import assign, scaled
from gradverify.adapters._seeds import Randomness
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Case, Gradients, Out, Pullback


@registry.adapter("value_and_grad")
class ValueAndGrad:
    """One function: fn(**primals, **constants) -> (loss, gradients), with the loss inside.

    gradients  a mapping (``W1``, ``dW1``, ``grad_W1``, ...), a tuple or list in the order of the primals, or one array
    The pullback multiplies by the (scalar) upstream. Raises UsageError when ``fn`` is not callable.
    """

    framework = "numpy"
    priority = 10
    accepted = "one function that returns (loss, gradients): gv.verify(loss_and_grads, primals)"
    traits = frozenset({"no-upstream"})

    def __init__(self, fn: Callable[..., Any], *, name: str = "") -> None:
        if not callable(fn):
            raise UsageError(f"value_and_grad needs a function that returns (loss, gradients), not {fn!r}")
        self._fn, self._sig = fn, signature(fn)
        self.name = name or who_is(fn, "value_and_grad")

    @classmethod
    def accepts(cls, subject: object) -> bool:
        """A function, a bound method, or any other callable that is not a class."""
        return callable(subject) and not isinstance(subject, type) and not is_module(subject)

    @classmethod
    def adapt(cls, subject: Any, **options: Any) -> ValueAndGrad:
        return cls(subject, **options)

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The loss on foreign arrays, as they are."""
        return self.pick(self._run(primals, constants))

    def pick(self, raw: Any) -> Any:
        """The loss within (loss, gradients)."""
        if not isinstance(raw, (tuple, list)) or len(raw) < 2:
            raise AdapterError(
                f"{self.name} returned {describe(raw)}; expected (loss, gradients). "
                "For a forward and a backward write gv.verify((forward, backward), primals)"
            )
        return raw[0]

    def evaluate(self, case: Case) -> Out:
        """The loss alone."""
        primals = given(case)
        with Randomness().forward():
            raw = run(self.name, self._run, primals, case.constants)
        return as_out(self.pick(raw), self.name)

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Loss and gradients in one call; the pullback multiplies the gradients by its upstream."""
        primals = given(case)
        with Randomness().forward():
            raw = run(self.name, self._run, primals, case.constants)
        out = as_array(self.pick(raw), f"the loss of {self.name}")
        result = raw[1] if len(raw) == 2 else tuple(raw[1:])
        gradients = assign(
            result, case.primals, self.name, [p for p in self._sig.names if p in {**primals, **case.constants}]
        )

        def pullback(upstream: Out) -> Gradients:
            return {n: scaled(upstream, out.shape, g, self.name) for n, g in gradients.items()}

        return out, pullback

    def _run(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        places = slots(self._sig, list(primals), list(constants), who=self.name)
        args, kwargs = arguments(self._sig, places, {**constants, **primals})
        return self._fn(*args, **kwargs)
