"""Differentiate the user's NumPy forward, unchanged.

The forward runs on a thin array that speaks NumPy's dispatch protocols (NEP 13 and 18) over torch tensors. Each
operation has the value that NumPy gives and a derivative that torch knows. Whatever would leave the graph raises
``Escaped`` and names itself; nothing becomes a constant in silence. ``trace`` is the door.

====================  ==========================================================================================
tape, escape, tables  the state of a trace; the refusal; the tables that the families fill
storage, array        memory with views, on immutable tensors; the array type
dispatch              the two protocols
elementwise           ufuncs                      reductions  sums, extrema, norms, sorting
movement, indexing    everything that only moves  linalg      products, inverses, decompositions
functions, methods    compositions; the methods   allocation  np.zeros and its like during a trace
bend, whatif          counterfactual backprop   patterns    sigmoids and softmaxes written by hand
====================  ==========================================================================================
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradverify.errors import UsageError
from gradverify.tracing import functions, linalg, methods, movement, patching, reductions, tolerances
from gradverify.tracing.agreement import require_agreement
from gradverify.tracing.array import TracedArray, each_plain, holds_traced, stacked, tensor, wrap
from gradverify.tracing.bend import KINDS
from gradverify.tracing.escape import Escaped, is_inside
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.tape import TIES, Tape, active
from gradverify.tracing.whatif import Mark, Network
from gradverify.types import Array, Arrays, Out, like

__all__ = ["KINDS", "TIES", "Escaped", "Trace", "TracedArray", "trace"]

FAMILIES = (patching, functions, linalg, methods, movement, reductions, tolerances)  # importing them fills the tables


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A forward that has been run once on traced arrays.

    out    the value, plain NumPy in the trace's dtype
    vjp    upstream (shaped like ``out``) -> gradient per primal: shaped like it, ``None`` for integers and bools. Any
           number of calls. Error: rounding only; NaN where the derivative does not exist or 0 * inf occurs
    jvp    tangents by primal (a missing one is zero) -> derivative of ``out`` along them
    kinks  where the point lies exactly on a kink or tie: "maximum: 3 ties", "abs at 0: 1 entries"
    nodes  the nonlinear nodes in order of execution: "tanh #0", "exp #0", "tanh #1"; ``bend`` counts them from 0
    stops  the tolerance that an iteration inside stops at (a scalar was compared with it), 0 where there is none
    thresholds  the same where arrays are compared with it as well
    sides  by what the primals might be multiplied so that a comparison does not come out the same for all entries
    notes  what was done otherwise than asked: down-casts that were not rounded, primals that ``out`` does not use
    network  upstream -> the recorded graph, on which bugs of backward can be played through (``whatif``)
    """

    out: Out
    vjp: Callable[[Out], dict[str, Array | None]]
    jvp: Callable[[Arrays], Out]
    kinks: tuple[str, ...]
    nodes: tuple[str, ...]
    notes: tuple[str, ...]
    stops: float = 0.0
    epsilons: bool = False
    thresholds: float = 0.0
    sides: tuple[float, ...] = ()
    network: Callable[[Out], Network]


def trace(
    call: Callable[[Mapping[str, Any], Mapping[str, Any]], Any],
    primals: Mapping[str, Array],
    constants: Mapping[str, Any],
    *,
    dtype: str = "float64",
    ties: str = "first",
    bend: tuple[int, str] | None = None,
    pick: Callable[[Any], Any] | None = None,
    expect: Out | None = None,
    explain: bool = False,
    without_epsilon: str = "",
    tighter: bool = False,
    other_branch: bool = False,
) -> Trace:
    """Run ``call(primals, constants)`` on traced arrays.

    dtype   in which the arithmetic is done, whatever the forward believes: float32 primals are widened, and casts to
            float32 inside the forward do not round. So the result is the float64 truth at the rounded inputs
    ties    who gets the gradient at an exact tie: see ``tape.TIES``
    bend    (index of a node, one of ``KINDS``): the same value with another derivative at that node
    tighter  an iteration that stops at a tolerance goes on to a smaller one
    other_branch  where both branches of a ``where`` give the same to a few digits, the other one is differentiated; a
            bound that is a plain number binds nothing: ``where(x > 20, x, log1p(exp(minimum(x, 20))))``
    without_epsilon  "all": log(x + 1e-7) is taken for log(x), which keeps its zeros in mind and means the latter;
            "slope": its derivative alone is taken for 1 / x
    pick    takes the output out of what ``call`` returns; by default the first of a tuple
    expect  the plain forward's output: the traced one must agree, see ``agreement``
    explain remember the user's lines and activations, which ``Trace.network`` needs
    Raises  Escaped (an Unsupported) when the forward leaves the protocols, fails, does not depend on any float
            primal, or does not agree; MissingExtra without torch; UsageError for an unknown ``ties`` or kind
    """
    if ties not in TIES:
        raise UsageError(f"ties={ties!r}: one of {', '.join(TIES)}")
    if bend is not None and bend[1] not in KINDS:
        raise UsageError(f"bend={bend!r}: the kinds are {', '.join(KINDS)}")
    tape = Tape(dtype=dtype, ties=ties, bend=bend, explain=explain, without_epsilon=without_epsilon,
                tighter=tighter, other_branch=other_branch)  # fmt: skip
    leaves: dict[str, Tensor] = {}
    given: dict[str, Any] = {}
    with active(tape), torch.enable_grad():
        for name, value in primals.items():
            plain = np.asarray(value)
            if plain.dtype.kind == "c":
                raise Escaped(f"the primal {name!r} is complex; complex arrays are not traced")
            if plain.dtype.kind != "f":
                given[name] = np.array(plain)
                continue
            tape.claims(plain.dtype)
            leaves[name] = torch.from_numpy(np.array(plain, dtype=dtype)).requires_grad_()
            given[name] = wrap(leaves[name].view_as(leaves[name]), plain.dtype, scalar=False)
        with patching.patched(call):
            # float constants can be buffers too, and `X.dot(W)` of a plain X would not ask a traced W
            fixed = each_plain(lambda x: wrap(tensor(x), x.dtype, scalar=False), dict(constants))
            returned = run(tape, call, given, fixed)
            parts = {name: tensor(out) for name, out in outputs(tape, returned, pick).items()}
        if tape.escapes:  # the user's own `except` caught it
            raise tape.escapes[0]
    if bend is None and not any(t.requires_grad for t in parts.values()):
        raise Escaped("the output does not depend on the traced primals")
    single = "" in parts and len(parts) == 1
    shape: Any = np.empty(0) if single else parts
    graph = Graph(leaves, parts, tuple(primals))
    kinks = tape.kinks(list(leaves.values())) if bend is None else ()
    result = Trace(
        out=like(shape, {k: t.detach().numpy().copy() for k, t in parts.items()}),
        vjp=graph.vjp,
        jvp=lambda tangents: like(shape, graph.jvp(tangents)),
        kinks=kinks,
        nodes=tuple(tape.nodes),
        notes=(*tape.notes, *graph.unused()),
        stops=tape.stops.of_scalars,
        epsilons=tape.epsilons,
        thresholds=tape.stops.of_all,
        sides=tuple(tape.sides),
        network=lambda upstream: graph.network(upstream, tape.marks or ()),
    )
    if bend is not None and bend[0] >= len(tape.nodes):
        raise UsageError(f"bend={bend!r}: this forward has {len(tape.nodes)} nodes")
    if expect is not None:
        require_agreement(result.out, expect, graph.vjp, {k: np.asarray(primals[k]) for k in leaves}, tape.coarsest)
    return result


def run(tape: Tape, call: Any, given: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
    """The user's forward; whatever it raises here it did not raise on plain arrays."""
    try:
        return call(given, constants)
    except Escaped:
        raise
    except Exception as error:  # any failure of user code on traced arrays means: decline
        if tape.escapes:
            raise tape.escapes[0] from error
        line = user_line_of(error)
        raise Escaped(f"the forward fails on traced arrays: {type(error).__name__}: {error}{line}") from error


def user_line_of(error: BaseException) -> str:
    """The innermost line of the user's in a traceback."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not is_inside(frame.f_globals.get("__name__", "")):
            name = frame.f_code.co_filename.rsplit("/", 1)[-1]
            found = f" at {name}:{line}"
    return found


def outputs(tape: Tape, returned: Any, pick: Callable[[Any], Any] | None) -> dict[str, Any]:
    """The outputs by name, ``""`` for a single one; deferred floats are resolved here."""
    if pick is not None:
        returned = pick(returned)
    elif isinstance(returned, tuple):
        returned = returned[0]
    named = dict(returned) if isinstance(returned, Mapping) else {"": returned}
    for name, out in named.items():
        for value, source, clock, _ in tape.floats:
            if out is value and source is not None and clock == tape.clock and len(tape.floats) == 1:
                named[name] = np.reshape(source, ())
                tape.floats.clear()
                break
    if tape.floats:
        raise Escaped("float(), .item() or assignment into a plain array, of a traced value" + tape.floats[0][3])
    for name, out in named.items():
        if out is None:
            raise Escaped("the forward returned None")
        if isinstance(out, list) and holds_traced(out):
            named[name] = wrap(stacked(out))
    return named


class Graph:
    """The recorded computation: derivatives of ``parts`` by ``leaves``."""

    def __init__(self, leaves: dict[str, Tensor], parts: dict[str, Tensor], names: tuple[str, ...]) -> None:
        self._leaves = leaves
        self._names = names
        self._shapes = {k: tuple(t.shape) for k, t in parts.items()}
        self._parts = {k: t for k, t in parts.items() if t.requires_grad}

    def pulled(self, upstream: Mapping[str, Tensor], *, create_graph: bool = False) -> dict[str, Tensor | None]:
        if not self._parts:
            return dict.fromkeys(self._leaves)
        outs = [self._parts[k] for k in self._parts]
        weights = [upstream[k] for k in self._parts]
        grads = torch.autograd.grad(
            outs, list(self._leaves.values()), weights, retain_graph=True, create_graph=create_graph, allow_unused=True
        )
        return dict(zip(self._leaves, grads, strict=True))

    def weights(self, upstream: Out) -> dict[str, Tensor]:
        """The upstream as tensors, checked against the shapes of the outputs."""
        given = upstream if isinstance(upstream, Mapping) else {"": upstream}
        weights = {}
        for k, shape in self._shapes.items():
            u = np.array(given[k], dtype=float)
            if u.shape != shape:
                raise UsageError(f"the upstream has shape {u.shape}, the output {shape}")
            if k in self._parts:
                weights[k] = torch.from_numpy(u).to(self._parts[k].dtype)
        return weights

    def network(self, upstream: Out, marks: Sequence[Mark]) -> Network:
        """The graph for counterfactual backward passes."""
        return Network(self._leaves, self._parts, self.weights(upstream), marks)

    def vjp(self, upstream: Out) -> dict[str, Array | None]:
        grads = self.pulled(self.weights(upstream))
        found: dict[str, Array | None] = dict.fromkeys(self._names)
        for name, leaf in self._leaves.items():
            g = grads[name]
            found[name] = np.zeros(tuple(leaf.shape)) if g is None else g.detach().numpy()
        return found

    def jvp(self, tangents: Arrays) -> dict[str, Array]:
        """By differentiating the pullback, which is linear in its upstream."""
        probes = {k: torch.zeros_like(t).requires_grad_() for k, t in self._parts.items()}
        grads = self.pulled(probes, create_graph=True)
        found = {k: np.zeros(s) for k, s in self._shapes.items()}
        total = torch.zeros((), dtype=torch.float64)
        for name, g in grads.items():
            if g is not None and name in tangents:
                total = total + (g * torch.from_numpy(np.array(tangents[name], dtype=float)).to(g.dtype)).sum()
        if total.requires_grad:
            forward = torch.autograd.grad(total, list(probes.values()), allow_unused=True, retain_graph=True)
            for k, d in zip(probes, forward, strict=True):
                if d is not None:
                    found[k] = np.array(d.detach().numpy())
        return found

    def unused(self) -> tuple[str, ...]:
        """Primals that the output does not use at all."""
        reached: set[int] = set()
        seen: set[Any] = set()
        queue = [t.grad_fn for t in self._parts.values()]
        while queue:
            node = queue.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            reached.add(id(getattr(node, "variable", None)))
            queue.extend(following for following, _ in node.next_functions)
        return tuple(
            f"the output does not use {name!r}" for name, leaf in self._leaves.items() if id(leaf) not in reached
        )
