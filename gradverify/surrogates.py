"""Backward that is deliberately not the derivative of forward: straight-through estimators and their kin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradverify.adapters._pairs_of_reals import PairsOfReals
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Adapter, Case, Out, Pullback


class Surrogate:
    """An adapter that is only a forward: the function whose derivative the backward claims to be.

    A torch surrogate means what torch's autograd makes of it: ``x + (x.round() - x).detach()`` is one for x, and so is
    a module whose own Functions go straight through.
    """

    traits = frozenset[str]()
    declared = True  #: where differences contradict its autograd, the autograd is what was meant

    def __init__(self, function: Callable[..., Any], like: Adapter) -> None:
        from gradverify.adapters.functions import Functions
        from gradverify.adapters.torch_module import TorchModule

        self.name = f"surrogate of {like.name}"
        self.framework = getattr(like, "framework", "numpy")
        self.device = getattr(like, "device", None)
        self._function = function
        self._inner: Any = (
            TorchModule(function, device=self.device, own_functions=True, name=self.name)
            if self.framework == "torch"
            else Functions(function, lambda upstream, cache: upstream, name=self.name)
        )

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The surrogate on foreign arrays."""
        return self._inner.call(primals, constants)

    def evaluate(self, case: Case) -> Out:
        """The surrogate's value."""
        value: Out = self._inner.evaluate(case)
        return value

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Not asked for: a surrogate has no backward of its own."""
        raise AdapterError("a surrogate is only a forward")


def truth_of(surrogate: Callable[..., Any] | str | None, adapter: Adapter, case: Case) -> tuple[Adapter | None, str]:
    """(the adapter that the oracles differentiate or None, why the value is left unjudged or "")."""
    if surrogate is None:
        return None, ""
    if isinstance(surrogate, str):
        if not surrogate.strip():
            raise UsageError("surrogate='' says nothing; write a sentence, or give the function whose derivative it is")
        return None, f"declared a surrogate gradient: {surrogate}"
    if not callable(surrogate):
        raise UsageError(
            f"surrogate={surrogate!r}; give the function whose derivative backward is, or a sentence that says why not"
        )
    truth: Adapter = Surrogate(surrogate, adapter)
    return (PairsOfReals(truth, adapter.names) if isinstance(adapter, PairsOfReals) else truth), ""
