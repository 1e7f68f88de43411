"""What a backend shows of itself: a target, its capabilities, and how it is driven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gradverify.errors import AdapterError, UsageError
from gradverify.types import Array, Case, Gradients, Out, Pullback


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a backend can do, declared once. What it cannot do is skipped and said, never guessed.

    dtypes        names of dtypes, the most precise first; the catalogue runs in the first one, spot checks in all
    devices       the first is where it is unasked; a class or function that takes ``device=`` is sent to others
    layouts       takes arrays with any strides
    zero_batch    takes a batch of no samples
    subnormals    keeps numbers below the smallest normal one (2e-308 in float64); XLA, for example, flushes them to 0
    lacks         name of a check or invariant -> the reason why it does not apply to this backend
    """

    dtypes: tuple[str, ...] = ("float64", "float32")
    devices: tuple[str, ...] = ("cpu",)
    layouts: bool = True
    zero_batch: bool = True
    subnormals: bool = True
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
        self.device = getattr(target, "device", None)  #: checks hand no wrong index to a GPU

    def supports(self, case: Case) -> bool:
        """What the target says; adapters of a single op say nothing. Raises AdapterError for what is no answer."""
        asked = getattr(self.target, "supports", None)
        if asked is None:
            return True
        answer = self._call(f"supports(case), with the case {case.name},", asked, case)
        if not isinstance(answer, (bool, np.bool_)):
            raise AdapterError(f"{self.name}: supports(case) returned {answer!r} for {case.name}; return True or False")
        return bool(answer)

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
