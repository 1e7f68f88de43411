"""What a backend shows of itself: a target, its capabilities, and how it is loaded and driven."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gradverify.errors import AdapterError, UsageError
from gradverify.types import Array, Case, Gradients, Out, Pullback


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a backend can do, declared once. What it cannot do is skipped and said, never guessed.

    dtypes        names of dtypes, the most precise first; the catalogue runs in the first one, spot checks in all
    devices       that ``--gradverify-device`` may name
    layouts       takes arrays with any strides
    zero_batch    takes a batch of no samples
    lacks         name of a check or invariant -> the reason why it does not apply to this backend
    """

    dtypes: tuple[str, ...] = ("float64", "float32")
    devices: tuple[str, ...] = ("cpu",)
    layouts: bool = True
    zero_batch: bool = True
    lacks: Mapping[str, str] = field(default_factory=dict)

    def reason(self, check: str) -> str:
        """Why a check is not asked, "" when it is."""
        if not self.layouts and check in ("primal-layouts", "upstream-layouts"):
            return "the target declares layouts=False"
        if not self.zero_batch and check == "zero-batch":
            return "the target declares zero_batch=False"
        return self.lacks.get(check, "")


@runtime_checkable
class Target(Protocol):
    """A backend under test.

    Optional members: ``capabilities``, a ``Capabilities``; ``traits``, see ``gradverify.types.TRAITS``.
    """

    name: str

    def supports(self, case: Case) -> bool:
        """Whether the backend has ``case.op`` with these constants."""
        ...

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Run ``case.op`` at ``case.primals`` and ``case.constants``, arrays by the names of the catalogue.

        Returns the output as an array with the pullback of that very run: upstream -> {primal: gradient or None}.
        """
        ...


@functools.cache
def load_target(spec: str, device: str | None = None) -> Target:
    """The target that ``package.module:name`` names; a class or factory is called, with ``device=`` if it takes one.

    The folder where pytest was started is importable. Raises UsageError that says what is missing.
    """
    module_name, _, attribute = spec.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"a target is written package.module:name, not {spec!r}")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise UsageError(f"the target {spec!r} cannot be imported: {error}") from error
    except AttributeError:
        raise UsageError(f"the module {module_name} has no {attribute!r}") from None
    if isinstance(found, type) or not hasattr(found, "vjp"):
        found = _made(found, spec, device)
    elif device is not None and device not in capabilities_of(found).devices:
        raise UsageError(f"the target {spec!r} is on {', '.join(capabilities_of(found).devices)}, not on {device}")
    return check_target(found, spec)


def _made(factory: Any, spec: str, device: str | None) -> Any:
    if not callable(factory):
        raise UsageError(f"the target {spec!r} has neither vjp nor can it be called to make one")
    takes = "device" in inspect.signature(factory).parameters
    if device is not None and not takes:
        raise UsageError(f"the target {spec!r} does not take device=, so --gradverify-device means nothing to it")
    return factory(device=device) if takes and device is not None else factory()


def check_target(found: Any, spec: str) -> Target:
    """``found`` if it has the members of a target. Raises UsageError that names the one that is missing."""
    for member, said in (
        ("name", "a text"),
        ("supports", "a function of a case that returns a bool"),
        ("vjp", "a function of a case that returns (out, pullback)"),
    ):
        value = getattr(found, member, None)
        if value is None or (member == "name") is callable(value):
            raise UsageError(f"the target {spec!r} has no {member}: {said}")
    target: Target = found
    return target


def capabilities_of(target: Any) -> Capabilities:
    """What the target declares, or the default. Raises UsageError for anything but a Capabilities."""
    said = getattr(target, "capabilities", None)
    if said is None:
        return Capabilities()
    if not isinstance(said, Capabilities):
        raise UsageError(f"{target.name}: capabilities is a {type(said).__name__}, not a Capabilities")
    return said


@dataclass(frozen=True, kw_only=True)
class _Lent(Case):
    """A case whose primals are the very arrays that were handed out: writing to them would be seen."""

    given: dict[str, Array]

    def __post_init__(self) -> None:
        object.__setattr__(self, "primals", self.given)

    def thawed(self) -> dict[str, Array]:
        return self.given


class Driven:
    """The adapter of a target: whatever it raises or returns wrongly is an AdapterError that says so."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.name = target.name
        self.traits = frozenset(getattr(target, "traits", ()))
        self.framework = str(getattr(target, "framework", "numpy"))

    def supports(self, case: Case) -> bool:
        """What the target says; adapters of a single op say nothing."""
        asked = getattr(self.target, "supports", None)
        return asked is None or bool(asked(case))

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """The target's own, its answers made sure of."""
        given = case.thawed()
        try:
            out, pullback = self._forward(case, given)
        except AdapterError:
            if all(type(v) is np.ndarray for v in given.values()):
                raise
            # rounding is measured on a subclass of ndarray, which some frameworks refuse: then on plain arrays
            out, pullback = self._forward(case, {k: np.array(v) for k, v in given.items()})

        def pull(upstream: Out) -> Gradients:
            found = self._call(f"the pullback of {case.op}", pullback, upstream)
            if not isinstance(found, Mapping):
                raise AdapterError(f"{self.name}: the pullback of {case.op} returned a {type(found).__name__}, "
                                   "not gradients by the names of the primals")  # fmt: skip
            if missing := [k for k in case.primals if k not in found]:
                raise AdapterError(f"{self.name}: the pullback of {case.op} has no gradient for {', '.join(missing)}; "
                                   "say None where there is none")  # fmt: skip
            return {k: None if found[k] is None else _array(found[k], f"gradient of {k}") for k in case.primals}

        return _out(out), pull

    def _forward(self, case: Case, given: dict[str, Array]) -> tuple[Any, Any]:
        plain = {f.name: getattr(case, f.name) for f in fields(Case)} | {"constants": _as_wide(case)}
        answer = self._call(case.op, self.target.vjp, _Lent(**plain, given=given))
        if not isinstance(answer, tuple) or len(answer) != 2 or not callable(answer[1]):
            raise AdapterError(f"{self.name}: vjp of {case.op} returned {type(answer).__name__}, not (out, pullback)")
        return answer

    def _call(self, what: str, function: Any, argument: Any) -> Any:
        try:
            return function(argument)
        except AdapterError:
            raise
        except Exception as error:
            raise AdapterError(f"{self.name}: {what} raised {type(error).__name__}: {error}") from error


def _as_wide(case: Case) -> dict[str, Any]:
    """Floating-point constants no narrower than the primals: oracles ask for the truth at primals in float64."""
    kinds = [v.dtype for v in case.primals.values() if v.dtype.kind == "f"]
    widest = max(kinds, key=lambda kind: kind.itemsize, default=np.dtype(float))

    def widened(v: Any) -> Any:
        narrow = isinstance(v, np.ndarray) and v.dtype.kind == "f" and v.dtype.itemsize < widest.itemsize
        return v.astype(widest) if narrow else v

    return {k: widened(v) for k, v in case.constants.items()}


def _out(value: Any) -> Out:
    if isinstance(value, Mapping):
        return {str(k): _array(v, f"output {k!r}") for k, v in value.items()}
    return _array(value, "the output")


def _array(value: Any, what: str) -> Array:
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise AdapterError(f"{what} is a {type(value).__name__}, not an array of numbers")
    return array
