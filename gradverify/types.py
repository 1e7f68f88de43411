"""The nouns of gradverify: what travels from a user's object to a row of a report.

``Case`` (where to test) -> ``Adapter`` (what is tested) -> ``Measurement`` (got against an ``Estimate``)
-> ``Finding`` (judged). Everything is frozen; arrays inside a ``Case`` are read-only.
"""

from __future__ import annotations

import copy
import enum
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]
Out: TypeAlias = Array | Mapping[str, Array]  #: what a forward returns: an array, or arrays by name
Gradients: TypeAlias = Mapping[str, Array | None]  #: ``None``: not differentiable, which is not zeros
Pullback: TypeAlias = Callable[[Out], Gradients]


class Verdict(enum.StrEnum):
    """The answers. Only ``PASS`` and ``FAIL`` are judgements of the implementation."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"
    ERROR = "error"


#: bytes from which an array is not copied to be kept: ``verify`` makes sure that nobody writes to it meanwhile
LARGE = 64 << 20


#: What no run can change: handed over as it is.
UNCHANGING = (bool, int, float, complex, str, bytes, type(None), np.generic)


def private(value: Any) -> Any:
    """A copy that a run may write to; what cannot be copied (a module, an open file) is handed over as it is."""
    if type(value) is np.ndarray and value.dtype != object:
        return frozen(value) if value.nbytes >= LARGE else value.copy("K")
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001  (any object may refuse to be copied, in its own way)
        return value


def frozen(array: npt.ArrayLike) -> Array:
    """A read-only private copy; memory order and ndarray subclass are kept. A large array is not copied but viewed."""
    if type(array) is np.ndarray and not array.flags.writeable and array.base is None:
        return array  # frozen before: nobody holds a writable view of it
    if isinstance(array, np.ndarray) and array.nbytes >= LARGE:
        view = array.view()
        view.flags.writeable = False
        return view
    copy = np.array(array, copy=True, order="K", subok=True)
    copy.flags.writeable = False
    return copy


@dataclass(frozen=True, kw_only=True)
class Case:
    """A point to test at.

    primals    name -> read-only array; integer and bool arrays are not differentiable
    constants  name -> anything, handed to the forward unchanged
    upstream   the cotangent, shaped like the forward's output; ``None``: the runner draws one
    """

    name: str
    primals: Arrays
    constants: Mapping[str, Any] = field(default_factory=dict)
    upstream: Out | None = None
    op: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "primals", {k: frozen(v) for k, v in self.primals.items()})

    def at(self, primals: Arrays) -> Case:
        """The same case with some primals replaced."""
        return replace(self, primals={**self.primals, **primals})

    def thawed(self) -> dict[str, Array]:
        """Private writable copies of the primals, in the same memory order."""
        return {k: np.array(v, copy=True, order="K", subok=True) for k, v in self.primals.items()}

    def fixed(self) -> dict[str, Any]:
        """The constants for one run: what it may change (an array, a dict, a generator of numbers) is its own."""
        return {k: v if isinstance(v, UNCHANGING) else private(v) for k, v in self.constants.items()}


@runtime_checkable
class Adapter(Protocol):
    """How one kind of implementation is driven.

    Optional members, looked up with ``getattr``:

    ``evaluate(case) -> Out``                 the forward alone, on a fresh state
    ``evaluate_many(case, stacked) -> Out``   the forward at stacked primals (leading axis), or raises Unsupported
    ``jvp(case, tangents) -> Out``            the implementation's own forward mode
    ``call(primals, constants) -> Any``       the output of the forward on foreign arrays (traced, complex, torch)
    ``framework``                             ``"numpy"`` or ``"torch"``: the arrays that ``call`` understands
    ``parameters() -> dict[str, Array]``      primals found on the object, at their current values
    ``dtype``                                 name of the storage dtype when NumPy has none ("bfloat16")
    ``traits``                                frozenset of facts about the API, see ``TRAITS``
    """

    name: str

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Run the forward at ``case`` and return its output with the pullback for that very run."""
        ...


#: What an adapter may say of the API that it drives; checks ask with ``trait in adapter.traits``.
TRAITS = {
    "no-upstream": "backward takes no upstream gradient: the loss is inside (value_and_grad)",
    "upstream-optional": "backward's upstream has a default, as losses have: ignoring it is a convention",
    "engine": "an autodiff engine stands between (torch): it repairs layout, aliasing and dtype by itself",
    "accumulates": "gradients are added into place by design (torch .grad)",
    "partial-upstream": "an upstream may name some of the outputs: the loss does not use the others",
    "reshaped-upstream": "the adapter converts the upstream before handing it over",
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An oracle's answer. ``error`` is an absolute bound of the same shape; NaN means "does not know"."""

    value: Array
    error: Array
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", np.asarray(self.value))
        error = np.broadcast_to(np.asarray(self.error, dtype=float), self.value.shape)
        object.__setattr__(self, "error", error)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured, before it is judged.

    rounding  absolute bound on the implementation's own rounding, same shape as ``got`` or scalar
    scale     natural magnitude of the compared numbers; the resolution is stated relative to it
    natural   magnitude that the terms behind these numbers may have (|upstream| |out| / |primal|), if known
    eps       unit roundoff of these terms, if known
    ask       relative resolution an oracle must reach for a pass to mean something
    lower, upper  the one-sided derivatives where they differ (a kink), else None
    why       the sentence used if this fails; the judge writes one if it is empty
    bench     the ``Bench`` that it was measured on, where that is another than the one that the check was given
    """

    of: str
    got: Array
    want: Estimate
    oracle: str = ""
    rounding: Array | float = 0.0
    scale: float = 0.0
    natural: float = 0.0
    eps: float = 0.0
    ask: float = 1e-4
    lower: Array | None = None
    upper: Array | None = None
    why: str = ""
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    bench: Any = None


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A named bug, with the evidence for it and what to do."""

    name: str
    evidence: str
    suggestion: str = ""
    confidence: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One judged measurement: a row of every table. All values are plain Python."""

    adapter: str
    case: str
    check: str
    of: str
    verdict: Verdict
    oracle: str = ""
    n_compared: int = 0
    n_wrong: int = 0
    index: tuple[int, ...] | None = None
    got: float | None = None
    want: float | None = None
    want_error: float | None = None
    gap: float | None = None
    budget: float | None = None
    resolution: float | None = None
    why: str = ""
    notes: tuple[str, ...] = ()
    blind_spots: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    repeat: str = ""
    seconds: float = 0.0
    evaluations: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.verdict is Verdict.PASS and self.n_compared == 0:
            raise ValueError(f"{self.check} of {self.of}: a pass that compared nothing")
        if self.verdict is not Verdict.PASS and not self.why:
            raise ValueError(f"{self.check} of {self.of}: {self.verdict} without a reason")


class Bench(Protocol):
    """What a check may ask for. Every call works on private copies of the case and of the user's object."""

    adapter: Adapter
    case: Case  #: with the upstream filled in
    rng: np.random.Generator

    @property
    def eps(self) -> float:
        """Unit roundoff of the dtype that the implementation computes in."""
        ...

    @property
    def upstream(self) -> Out:
        """The cotangent of the case."""
        ...

    def run(self, case: Case | None = None) -> Run:
        """A fresh forward at ``case`` (default: the bench's), everything it was given kept for inspection."""
        ...

    def gradients(self, upstream: Out | None = None) -> dict[str, Array | None]:
        """Validated gradients of a fresh run, cached per upstream given as ``None``."""
        ...

    def settled(self) -> tuple[Measurement, ...]:
        """The gradients of the case against the oracles, one measurement per primal or probe; cached."""
        ...

    def rounding(self, name: str) -> Array:
        """Measured absolute rounding of the gradient of primal ``name`` (same shape)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Run:
    """One forward of a fresh implementation: ``given`` are the very arrays it received."""

    given: dict[str, Array]
    constants: Mapping[str, Any]
    out: Out
    pullback: Pullback


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a cause recogniser may look at: everything that is known about one failing gradient check.

    got, want    all gradients of the run and the oracle's, by primal (want only where the oracle answered)
    rounding     absolute size below which a difference means nothing, by primal
    gradients    (primals, upstream) -> gradients of a fresh run there, for experiments
    what_if      yields (name of a suspected bug, gradients the forward would have with it), or None when the
                 forward cannot be traced; names look like "missing-activation-derivative: tanh #0"
    dear         a run takes long enough to be thought about: what the numbers say is asked first
    outputs      primals -> what the forward returns there, or None when that cannot be asked
    """

    check: str
    case: Case
    upstream: Out
    out: Out
    got: Gradients
    want: Mapping[str, Estimate]
    rounding: Mapping[str, float]
    gradients: Callable[[Arrays, Out], Gradients]
    what_if: Callable[[], Iterator[tuple[str, Mapping[str, Array]]]] | None = None
    dear: bool = False
    outputs: Callable[[Arrays], Out] | None = None


class Oracle(Protocol):
    """One independent source of truth."""

    name: str
    independent: bool  #: False when it uses the adapter's own forward

    def supports(self, adapter: Adapter, case: Case) -> str:
        """Empty when it applies, else the reason why not."""
        ...


class ReportLike(Protocol):
    """What a format is given."""

    @property
    def header(self) -> Mapping[str, Any]: ...
    @property
    def findings(self) -> tuple[Finding, ...]: ...
    @property
    def footer(self) -> Mapping[str, Any] | None: ...


Recogniser: TypeAlias = Callable[[Measurement, Evidence], Cause | None]
Check: TypeAlias = Callable[[Bench], Iterator[Measurement]]


def leaves(out: Out) -> dict[str, Array]:
    """The arrays of an output by name; a single array is called ``""``."""
    return dict(out) if isinstance(out, Mapping) else {"": out}


def like(out: Out, parts: Mapping[str, Array]) -> Out:
    """The inverse of ``leaves``: ``parts`` in the form that ``out`` has."""
    return dict(parts) if isinstance(out, Mapping) else parts[""]


def inner(u: Out, v: Out) -> float:
    """<u, v> over all leaves, in float64 (or the wider type of its arguments)."""
    a, b = leaves(u), leaves(v)
    return float(sum(np.sum(np.multiply(a[k], b[k], dtype=float)) for k in a))


def differentiable(array: Array) -> bool:
    """Floating-point arrays are; integers, bools and everything else are not."""
    return array.dtype.kind in "fc"


def rng_for(seed: int, *names: str) -> np.random.Generator:
    """A generator that depends on the seed and the names only, never on the order of the run."""
    return np.random.default_rng(seed_for(seed, *names))


def seed_for(seed: int, *names: str) -> list[int]:
    """What ``rng_for`` seeds with."""
    return [seed, zlib.crc32("/".join(names).encode())]
