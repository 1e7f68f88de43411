"""A function of jax arrays, its own ``custom_vjp`` included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.adapters._arrays import as_out, given
from gradverify.adapters._bind import arguments, run, signature, slots, who_is
from gradverify.adapters._containers import Containers
from gradverify.adapters._gradients import as_gradient
from gradverify.adapters._seeds import Randomness
from gradverify.errors import AdapterError, Unsupported, UsageError, need
from gradverify.types import Array, Arrays, Case, Gradients, Out, Pullback, differentiable


@registry.adapter("jax_function")
class JaxFunction:
    """A function of jax arrays through jax.vjp and jax.jvp, so that its custom_vjp and custom_jvp rules are on trial.

    Raises MissingExtra without jax, UsageError when ``fn`` is not callable. float64 needs jax_enable_x64, which is
    switched on for each call and put back afterwards.
    """

    framework = "jax"
    priority = 80
    accepted = "a function of jax arrays: gv.verify(gv.jax_function(f), primals)"
    traits = frozenset({"engine"})

    def __init__(self, fn: Callable[..., Any], *, name: str = "") -> None:
        self._jax: Any = need("jax", "jax", "gv.jax_function")
        self._x64 = double_precision(self._jax)
        if not callable(fn):
            raise UsageError(f"jax_function needs a function of jax arrays, not {fn!r}")
        self._fn, self._sig = fn, signature(fn)
        self.name = name or who_is(fn, "jax_function")

    @classmethod
    def accepts(cls, subject: object) -> bool:
        """Functions with a rule of their own; of a plain or jitted one only its caller knows what it returns."""
        kind = type(subject)
        return kind.__module__.split(".")[0] == "jax" and kind.__name__ in ("custom_vjp", "custom_jvp")

    @classmethod
    def adapt(cls, subject: Any, **options: Any) -> JaxFunction:
        return cls(subject, **options)

    def over_arrays(self, containers: Containers) -> JaxFunction:
        """The same over arrays, where primals are containers of arrays."""
        return JaxFunction(containers.forward(self._fn), name=self.name)

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The function on foreign arrays, as they are."""
        places = slots(self._sig, list(primals), list(constants), who=self.name)
        args, kwargs = arguments(self._sig, places, {**constants, **primals})
        return self._fn(*args, **kwargs)

    def evaluate(self, case: Case) -> Out:
        """The function alone."""
        with Randomness().forward(), self._x64():
            return self._plain(run(self.name, self.call, given(case), case.constants))

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Through jax.vjp with respect to the floating-point primals."""
        primals = given(case)
        floats = {n: v for n, v in primals.items() if differentiable(v)}
        with Randomness().forward(), self._x64():
            raw, pull = run(self.name, self._jax.vjp, self._of(primals, case.constants), floats)

        def pullback(upstream: Out) -> Gradients:
            with self._x64():
                (found,) = run(f"the backward of {self.name}", pull, self._upstream(upstream))
                return {n: as_gradient(n, np.asarray(found[n]) if n in found else None) for n in case.primals}

        return self._plain(raw), pullback

    def jvp(self, case: Case, tangents: Arrays) -> Out:
        """The implementation's own forward mode. Raises Unsupported without one, as inside a custom_vjp."""
        primals = given(case)
        floats = {n: v for n, v in primals.items() if differentiable(v)}
        zeros = {n: np.asarray(tangents.get(n, np.zeros_like(v)), v.dtype) for n, v in floats.items()}
        function = self._of(primals, case.constants)
        try:
            with Randomness().forward(), self._x64():
                return self._plain(run(self.name, self._jax.jvp, function, (floats,), (zeros,))[1])
        except AdapterError as error:
            raise Unsupported(f"no forward mode here: {error}") from error

    def _of(self, primals: Arrays, constants: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Any]:
        return lambda floats: self.call({**primals, **floats}, constants)

    def _upstream(self, upstream: Out) -> Any:
        asarray: Callable[[Array], Any] = self._jax.numpy.asarray
        return {k: asarray(v) for k, v in upstream.items()} if isinstance(upstream, Mapping) else asarray(upstream)

    def _plain(self, raw: Any) -> Out:
        if isinstance(raw, Mapping):
            return as_out({k: np.asarray(v) for k, v in raw.items()}, self.name)
        return as_out(np.asarray(raw), self.name)


def double_precision(jax: Any) -> Callable[[], Any]:
    """Makes the context in which jax has float64; its place has moved (jax.experimental until jax 0.8)."""
    switch: Any = getattr(jax, "enable_x64", None)
    if switch is None:
        switch = need("jax.experimental", "jax", "gv.jax_function").enable_x64
    return lambda: switch(True)
