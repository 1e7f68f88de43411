"""The user's object: private copies of it with the primals of a point set, and how it is called."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradverify.adapters import _store as store
from gradverify.adapters._bind import run, signature
from gradverify.adapters._discover import parse_on
from gradverify.adapters._methods import FORWARD, LOSS, Methods, has, methods_of
from gradverify.adapters._plan import Plan
from gradverify.adapters._seeds import Randomness
from gradverify.adapters._store import arrays, groups, label
from gradverify.adapters._tensors import Tensors
from gradverify.errors import AdapterError, UsageError


@dataclass(kw_only=True)
class Template:
    """The object is never run itself, only copies of it.

    factory  makes a new one where copying fails, or None
    asked    the names of methods that the user gave; grads  the places of gradients that the user gave
    plan     what is known of its parameters so far
    """

    obj: Any
    factory: Callable[..., Any] | None
    name: str
    asked: Mapping[str, Any]
    grads: Mapping[str, Any]
    plan: Plan | None = None
    tensors: Tensors | None = None  #: where the object holds tensors

    def fresh(self) -> Any:
        """A private copy, or a new one from the factory. Raises AdapterError for what cannot be copied."""
        try:
            return copy.deepcopy(self.obj)
        except Exception as error:
            if self.factory is not None:
                return made(self.factory)
            raise AdapterError(
                f"{self.name} cannot be copied ({type(error).__name__}: {error}); pass a factory that makes a new one: "
                f"gv.layer(lambda: {self.name}(...))"
            ) from error

    def methods(self, obj: Any, inputs: Sequence[str], constants: Mapping[str, Any]) -> Methods:
        """How ``obj`` is called."""
        found = methods_of(obj, list(inputs), list(constants), **self.asked)
        return found if self.tensors is None else replace(found, tensors=self.tensors)

    def inputs(self, obj: Any, names: list[str], constants: list[str]) -> list[str]:
        """The primals that are fed to the forward; the others are arrays on the object."""
        known = self.plan.named() if self.plan is not None else {}
        forward = self.asked["forward"] or has(obj, (*FORWARD, *LOSS))
        sig = signature(getattr(obj, str(forward), None) or (lambda: None))
        fed = [n for n in names if n in sig.names]
        on_it = {label(p) for p in arrays(obj)} | set(self.grads) | set(known)
        needed = len(sig.required) - len(fed) - sum(c in sig.names for c in constants)
        others = sorted((n for n in names if n not in fed), key=lambda n: (n in known, n in on_it))
        fed += [n for i, n in enumerate(others) if n not in on_it or (i < needed and n not in known)]
        return [n for n in names if n in fed]

    def set_up(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[Any, Methods, dict[str, Any]]:
        """(a copy with those of the primals set that are its arrays, how it is called, what is fed to it)."""
        obj = self.fresh()
        inputs = self.inputs(obj, list(primals), list(constants))
        for n, v in primals.items():
            if n not in inputs:
                self.put(obj, n, v)
        return obj, self.methods(obj, inputs, constants), {n: primals[n] for n in inputs}

    def put(self, obj: Any, name: str, value: Any, *, update: bool = False) -> None:
        """Set the array called ``name`` in all places where it hangs; ``update`` it in place, as an optimizer may."""
        known = self.plan.named() if self.plan is not None else {}
        if name in known:
            paths = known[name].paths
        else:
            wanted = [g for g in groups(arrays(obj)) if any(label(p) == name for p in g)]
            paths = wanted[0] if wanted else (parse_on(obj, name),)
        for path in paths:
            if not (update and store.updated(obj, path, value)):
                store.put(obj, path, value)


def made(factory: Callable[..., Any]) -> Any:
    """What a class or factory without required arguments makes. Raises UsageError for one that needs some."""
    needs = sorted(signature(factory).required)
    if needs:
        what = getattr(factory, "__name__", "the factory")
        raise UsageError(
            f"{what} takes {signature(factory)}: pass an instance, or a factory such as "
            f"gv.layer(lambda: {what}({', '.join(needs)}))"
        )
    with Randomness().forward():
        return run(getattr(factory, "__name__", "the factory"), factory)


def copied(thing: Any, name: str) -> Any:
    """A deep copy of an object with its state. Raises AdapterError where that is impossible."""
    try:
        return copy.deepcopy(thing)
    except Exception as error:
        raise AdapterError(f"the state of {name} after its forward cannot be copied: {error}") from error
