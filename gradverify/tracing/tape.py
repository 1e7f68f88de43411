"""What one trace remembers: kinks, nonlinear nodes, notes, escapes; and which trace this thread is in."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from gradverify.stopping import SMALL, Stops
from gradverify.tracing.escape import Escaped, user_line
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.whatif.sites import Mark

TIES = ("first", "second", "split", "zero", "all")
SEPARATE = 32  #: up to so many tied events are asked one by one whether they matter; more are asked together


PLAIN_SCALARS = (float, np.float64, np.float32, np.float16)
THRESHOLD = 1e-2  #: a number this small that values are compared with guards something
EPSILON = 1e-3  #: a constant this small beside a logarithm's argument keeps it from zero


class Tape:
    """The state of one trace.

    ties    who gets the gradient at an exact tie of maximum, minimum, abs, clip and max over an axis:
            ``first`` (first operand, first index, abs'(0) = 1), ``second`` (second operand, last index, abs'(0) = -1),
            ``split`` (equal shares, abs'(0) = 0), ``zero`` (nobody), ``all`` (each the whole, as by the mask
            ``x == x.max()``)
    bend    (index into ``nodes``, kind): the node whose local derivative is replaced
    marks   where hypotheses about backward are wanted: the elementwise functions and softmaxes; None where not
    """

    def __init__(self, *, dtype: str, ties: str, bend: tuple[int, str] | None, explain: bool = False,
                 without_epsilon: str = "", tighter: bool = False, other_branch: bool = False) -> None:  # fmt: skip
        self.marks: list[Mark] | None = [] if explain else None
        self.dtype = getattr(torch, dtype)
        self.ties = ties
        self.bend = bend
        self.nodes: list[str] = []
        self.without_epsilon, self.other_branch = without_epsilon, other_branch
        self.epsilons = False  #: a logarithm of x + epsilon was met
        self._epsilons: dict[int, tuple[Any, Any]] = {}  # id of x + epsilon -> (that tensor, x)
        self._factors: dict[int, tuple[Any, float]] = {}  # id of 1e-6 * x -> (that tensor, 1e-6)
        self.stops = Stops(tighter=tighter)
        self.sides: dict[float, None] = {}  #: factors of the values that come out on one side of a number only
        self.notes: dict[str, None] = {}
        self.escapes: list[Escaped] = []
        self.floats: list[tuple[Any, Any, int, str]] = []  # (the very object given out, its array, clock then, line)
        self.origins: dict[int, tuple[Tensor, str, Any]] = {}
        self.clock = 0  #: counts the steps that made a tracked value
        self.coarsest = np.dtype(dtype)  #: the least precise dtype that the forward asked for
        self._kinks: list[tuple[str, Tensor, bool]] = []
        self._counts: Counter[str] = Counter()

    def note(self, text: str) -> None:
        self.notes[text] = None

    def note_epsilon(self, inputs: tuple[Any, ...], tensors: list[Any], result: Any) -> None:
        """Remember ``x + 1e-7``: a logarithm of it may be meant as one of x."""
        for k, other in ((0, 1), (1, 0)):
            small = inputs[k]
            # type(), not isinstance: a traced scalar claims to be a float, and comparing it would be recorded
            if type(small) in PLAIN_SCALARS and 0 < small <= EPSILON:
                self._epsilons[id(result)] = (result, tensors[other])

    def before_epsilon(self, x: Any) -> Any:
        """What a logarithm is taken of: the x of ``x + epsilon`` where that was asked for, else what is given."""
        self.epsilons |= id(x) in self._epsilons
        if not self.without_epsilon or id(x) not in self._epsilons:
            return x
        whole, part = self._epsilons[id(x)]
        if self.without_epsilon == "all":
            return part
        fixed = part.detach()  # log of this is log(x + epsilon), its derivative 1 / x
        return whole.detach() * (1 + (part - fixed) / fixed)

    def note_sides(self, values: Tensor, number: float, outcome: Any) -> None:
        """Remember that all ``values`` come out on one side of a number, and about what times them would not."""
        if abs(number) < THRESHOLD or not values.requires_grad or not values.numel() or np.ndim(outcome) == 0:
            return
        v = values.detach()
        typical = float(v.abs().median())
        if (np.all(outcome) or not np.any(outcome)) and bool((torch.sign(v) == np.sign(number)).any()) and typical > 0:
            self.sides[abs(number) / typical] = None

    def note_factor(self, inputs: tuple[Any, ...], result: Any) -> None:
        """Remember ``1e-6 * x`` of a scalar x: a relative tolerance."""
        for small in inputs:
            if type(small) in PLAIN_SCALARS and 0 < small <= SMALL:
                self._factors[id(result)] = (result, float(small))

    def factor_of(self, x: Any) -> float:
        """The 1e-6 of ``1e-6 * x``; 0 of anything else."""
        found = self._factors.get(id(x), (None, 0.0))
        return found[1] if found[0] is x else 0.0

    def claims(self, dtype: Any) -> None:
        """Remember that the forward computes, or believes it computes, in ``dtype``."""
        if dtype.kind == "f" and np.finfo(dtype).eps > np.finfo(self.coarsest).eps:
            self.coarsest = np.dtype(dtype)

    def escape(self, text: str) -> NoReturn:
        """Raise Escaped, and remember it: the user's own ``except`` must not hide it."""
        escaped = Escaped(text + user_line())
        self.escapes.append(escaped)
        raise escaped

    def kink(self, label: str, gap: Tensor, *, steep: bool = False) -> None:
        """Entries of ``gap`` are exactly 0 (or tied infinities), and there the function has a kink.

        ``label`` has a place for the number of entries: ``"maximum: {n} ties"``. ``steep``: the slope is infinite
        there, so that it is a kink however slowly the primals move it, as sqrt(x**2) at 0.
        """
        if gap.requires_grad and gap.numel():
            self._kinks.append((label, gap.reshape(-1), steep))

    def kinks(self, leaves: Sequence[Tensor]) -> tuple[str, ...]:
        """The kinks that the primals can move off: a tie between two padded zeros is none."""
        found: Counter[str] = Counter()
        alone = len(self._kinks) <= SEPARATE
        groups: dict[Any, list[Tensor]] = {}
        for k, (label, gap, steep) in enumerate(self._kinks):
            if steep:
                found[label] += gap.numel()
                continue
            groups.setdefault((label, k if alone else 0), []).append(gap)
        generator = torch.Generator().manual_seed(0)
        for (label, _), gaps in groups.items():
            gap = torch.cat(gaps)
            weights = torch.rand(gap.shape, generator=generator, dtype=gap.dtype) + 0.5
            grads = torch.autograd.grad(gap, leaves, weights, retain_graph=True, allow_unused=True)
            if any(g is not None and bool((g != 0).any()) for g in grads):  # NaN != 0 too
                found[label] += gap.numel()
        return tuple(label.format(n=n) for label, n in found.items())

    def node(self, name: str) -> str | None:
        """Number a nonlinear node; the kind of bend if it is the one to bend."""
        self.nodes.append(f"{name} #{self._counts[name]}")
        self._counts[name] += 1
        return self.bend[1] if self.bend is not None and self.bend[0] == len(self.nodes) - 1 else None

    def origin(self, value: Tensor, kind: str, data: Any) -> None:
        """Remember how ``value`` was made, so that 1 / (1 + exp(-z)) is known as a sigmoid."""
        self.origins[id(value)] = (value, kind, data)

    def origin_of(self, value: Tensor) -> tuple[str, Any]:
        found = self.origins.get(id(value))
        return (found[1], found[2]) if found and found[0] is value else ("", None)


class _Active(threading.local):
    tape: Tape | None = None


_ACTIVE = _Active()


def tracing() -> Tape | None:
    """The trace that this thread is in, if any."""
    return _ACTIVE.tape


def tape() -> Tape:
    """The trace that this thread is in; Escaped when a traced array has outlived its trace."""
    if _ACTIVE.tape is None:
        raise Escaped("a traced array was used after its trace had ended" + user_line())
    return _ACTIVE.tape


@contextmanager
def active(new: Tape) -> Iterator[Tape]:
    """Make ``new`` the trace of this thread."""
    old, _ACTIVE.tape = _ACTIVE.tape, new
    try:
        yield new
    finally:
        _ACTIVE.tape = old
