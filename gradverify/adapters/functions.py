"""Two functions, ``forward`` and ``backward``, in the signatures that people give them.

==============================================  ==========================================================
``forward(x, W, b) -> out | (out, cache)``      arguments by name, by position if no name matches
``backward(upstream, cache)``, either order     told apart by their names (dout, dy, grad, g | cache, ctx, saved)
``backward(upstream, x, W, b)``, any order      the primals and constants by name, or what forward kept of them
``backward(upstream, out)``                     the forward's output
``backward(dh, dc, cache)``                     forward returns ``(h, c, cache)``: an output per upstream
``f(z)`` with ``f_prime(z)`` or ``f(z, True)``  an elementwise derivative: gradient = upstream * f_prime(z)
``mse(t, y)`` with ``mse_prime(t, y)``          a loss and its derivative, which takes the same arguments
``class F: forward(ctx, x), backward(ctx, g)``  static methods, as torch.autograd.Function has them
==============================================  ==========================================================
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from gradverify import registry
from gradverify.adapters._arrays import as_out, check_primals, given
from gradverify.adapters._bind import aliases_of, arguments, is_target, run, signature, slots, who_is, without
from gradverify.adapters._containers import Containers
from gradverify.adapters._ctx import is_ctx_function, two_functions
from gradverify.adapters._gradients import assign, scaled
from gradverify.adapters._outputs import MISSING, by_parameter, split
from gradverify.adapters._roles import NOT_UPSTREAM, OUT, UPSTREAM, Roles, fill, roles
from gradverify.adapters._same_name import SameName
from gradverify.adapters._seeds import Randomness
from gradverify.adapters._slopes import takes_output
from gradverify.adapters._tensors import Tensors, with_tensors
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Array, Arrays, Case, Gradients, Out, Pullback

FLAGS = ("derivative", "deriv", "prime", "grad", "gradient", "derive", "d", "is_derivative", "backward")
PRIME = re.compile(r"prime|deriv|grad", re.IGNORECASE)
ACTIVATIONS = OUT | {"a", "A", "activation", "activations", "sigmoid_output", "s"}


@registry.adapter("functions")
class Functions:
    """Two functions: forward(**primals, **constants) -> out or (out, cache), and backward(upstream, cache).

    forward   a callable; a tuple is (out, cache), or (h, c, cache) for a backward with several upstreams
    backward  a callable, see the table of this module; None when ``forward`` has a flag such as ``derivative=True``
    of        for an elementwise derivative: is its argument the function's "input" or its "output"; read from the name
    Raises UsageError when backward is not callable.
    """

    framework = "numpy"
    priority = 50
    accepted = "two functions: gv.verify((forward, backward), primals)"

    def __init__(
        self, forward: Callable[..., Any], backward: Callable[..., Any] | None = None, *, of: str = "", name: str = ""
    ) -> None:
        if not callable(forward):
            raise UsageError(f"forward is not callable: {forward!r}")
        self._forward = forward
        self._fsig = signature(forward)
        self._flag = "" if backward is not None else next((f for f in FLAGS if f in self._fsig.names[1:]), "")
        if self._flag:
            self._fsig = without(self._fsig, self._flag)
            backward = functools.partial(forward, **{self._flag: True})
        if not callable(backward):
            asked = "" if backward is None else f"backward is not callable: {backward!r}; "
            raise UsageError(
                f"{asked}functions needs a backward, or a forward with a flag such as f(z, derivative=False)"
            )
        if of not in ("", "input", "output"):
            raise UsageError(f"of={of!r}: the argument of the derivative is the function's 'input' or its 'output'")
        self._backward, self._bsig, self._of = backward, signature(backward), of
        self.name = name or who_is(forward, "functions")
        self.returns_cache = True  #: known after the first vjp
        self._elementwise = bool(self._flag or of) or self._is_derivative()
        self._by_place = not self._elementwise and self._takes_the_same()
        self._implicit = self._elementwise or self._by_place
        self._tried = False  #: whether a derivative takes the input or the output
        self.notes: tuple[str, ...] = ()
        self.tensors: Tensors | None = None
        self._same_name = SameName()
        self._extra = 0  #: the place of the cache among what forward returned, where it is one of several extras
        self.traits = frozenset({"no-upstream"}) if self._implicit else frozenset[str]()

    @classmethod
    def accepts(cls, subject: object) -> bool:
        """A pair of callables, one function with a flag such as ``derivative``, or a class of static methods."""
        if is_ctx_function(subject):
            return True
        if isinstance(subject, (tuple, list)):
            return len(subject) == 2 and all(callable(f) for f in subject)
        return (
            callable(subject)
            and not isinstance(subject, type)
            and any(f in signature(subject).names[1:] for f in FLAGS)
        )

    @classmethod
    def adapt(cls, subject: Any, **options: Any) -> Functions:
        parts = two_functions(subject) if is_ctx_function(subject) else subject
        return cls(*parts, **options) if isinstance(parts, (tuple, list)) else cls(parts, **options)

    def over_arrays(self, containers: Containers) -> Functions:
        """The same over arrays, where primals are containers of arrays."""
        back = self._backward
        return Functions(containers.forward(self._forward), containers.backward(back), of=self._of, name=self.name)

    def prepare(self, primals: Arrays, constants: Mapping[str, Any]) -> None:
        """Try whether a backward of one argument is an elementwise derivative, of the input or of the output."""
        names = self._bsig.names
        floats = [n for n, v in primals.items() if v.dtype.kind == "f"]
        one = len(self._bsig.required or names) == 1 and not self._bsig.opaque
        named = bool(names) and names[0] in self._fsig.names and not self._flag  # z and z: it says what it takes
        known = self.tensors is not None or self._tried or bool(self._of) or named
        if known or not one or len(primals) != 1 or len(floats) != 1:
            return
        if not self._elementwise and UPSTREAM.match(names[0]) and not PRIME.search(who_is(self._backward)):
            return
        self._tried = True
        settings = {n: constants[n] for n in names[1:] if n in constants}
        answer = takes_output(
            lambda z: self._run_forward({floats[0]: z}, constants),
            lambda z: self._backward(z, **settings),
            primals[floats[0]],
        )
        if answer is None:
            return
        self._elementwise = self._implicit = True
        self._of, self.traits = "output" if answer else "input", frozenset({"no-upstream"})
        if answer:
            self.notes = ("the derivative takes the output of the function, a = f(z): call it with that, not with z",)

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The forward on foreign arrays, as they are; the cache is stripped."""
        return self.pick(self._run_forward(primals, constants), primals, constants)

    def pick(self, raw: Any, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The output within what the forward returned."""
        return split(raw, self._table(primals, constants), one_output=self._implicit)[0]

    def evaluate(self, case: Case) -> Out:
        """The forward alone."""
        primals = given(case)
        with Randomness().forward():
            raw = run("forward", self._run_forward, primals, case.constants)
        return as_out(self.pick(raw, primals, case.constants))

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Forward with private copies, and the pullback of that run. Raises AdapterError where it cannot be driven."""
        check_primals(case.primals)
        self.prepare(case.primals, case.constants)
        primals = given(case)
        table = self._table(primals, case.constants)
        randomness = Randomness()
        with randomness.forward():
            raw = run("forward", self._run_forward, primals, case.constants)
        primals = primals if self.tensors is None else self.tensors.primals(primals)
        native, cache = split(raw, table, one_output=self._implicit)
        self.returns_cache = cache is not MISSING and cache is not None
        if not self._implicit and cache is not MISSING:
            table = self._same_name.table(table, self, case, primals, native, cache)
        out = as_out(native)
        loss_inside = not table.takes_upstream and not self._implicit
        if loss_inside:
            if isinstance(out, Mapping) or out.size != 1:
                raise AdapterError(self._no_upstream())
            self.traits = frozenset({"no-upstream"})

        def pullback(upstream: Out) -> Gradients:
            with randomness.pullback():
                if self._elementwise:
                    return self._derivative(upstream, out, native, primals, case.constants)
                if self._by_place:
                    return self._same_arguments(upstream, out, primals, case.constants)
                upstream = upstream if self.tensors is None else self.tensors.upstream(upstream, native)
                result = self._run_backward(table, upstream, primals, case.constants, native, cache, raw)
            found = assign(result, case.primals, "backward", self._order(primals, case.constants))
            if loss_inside and not isinstance(out, Mapping):
                return {n: scaled(upstream, out.shape, g, "backward") for n, g in found.items()}
            return found

        return out, pullback

    def _run_backward(
        self,
        table: Roles,
        upstream: Out,
        primals: Arrays,
        constants: Mapping[str, Any],
        native: Any,
        cache: Any,
        raw: Any,
    ) -> Any:
        """What backward returns, with all extras of the forward as its cache, or with the first or last alone."""

        def attempt(cache: Any) -> Any:
            args, kwargs = fill(
                table,
                upstream=by_parameter(table, upstream),
                primals=primals,
                constants=constants,
                out=native,
                cache=cache,
                has_cache=cache is not MISSING,
                who="backward",
            )
            return run("backward", self._backward, *args, **kwargs)

        n_out = len(native) if isinstance(native, Mapping) else 1
        several = table.takes_cache and isinstance(raw, tuple) and len(raw) > n_out + 1
        ends = [i for i in (n_out, len(raw) - 1) if isinstance(raw[i], (tuple, list, Mapping))] if several else []
        if self._extra in ends:
            return attempt(raw[self._extra])
        try:
            return attempt(cache)
        except AdapterError as error:  # (out, cache, mean, var) or (out, weights, cache): the rest is not for backward
            for self._extra in ends:
                with contextlib.suppress(AdapterError):
                    return attempt(raw[self._extra])
            self._extra = 0
            raise error from error.__cause__

    def _run_forward(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        places = self._places(primals, constants)

        def attempt(values: Mapping[str, Any]) -> Any:
            args, kwargs = arguments(self._fsig, places, values)
            return self._forward(*args, **kwargs)

        return with_tensors(self, attempt, primals, constants)

    def _places(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> dict[str, str]:
        return slots(self._fsig, list(primals), list(constants), who="forward", spare=self._bsig.names)

    def _order(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> list[str]:
        places = self._places(primals, constants)
        return [n for p in self._fsig.names for n, q in places.items() if p == q]

    def _table(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Roles:
        aliases = aliases_of(self._places(primals, constants))
        return roles(self._bsig, list(primals), list(constants), aliases=aliases)

    def _no_upstream(self) -> str:
        return (
            f"backward takes {self._bsig} and no upstream gradient; write backward(upstream, cache), "
            "or use gv.value_and_grad if the loss is inside"
        )

    def _takes_the_same(self) -> bool:
        """``mse_prime(y_true, y_pred)``: what the forward takes and no upstream, by its names or its own name."""
        names = self._bsig.names
        if len(self._bsig.required) < 2 or any(UPSTREAM.match(p) and p not in NOT_UPSTREAM for p in names):
            return False
        if set(names) <= set(self._fsig.names):
            return True
        alike = len(self._bsig.required) == len(self._fsig.required)
        named = PRIME.search(who_is(self._backward))
        return bool(alike and named and sum(is_target(p, (*names, "y_pred")) for p in names) == 1)

    def _same_arguments(
        self, upstream: Out, out: Out, primals: Arrays, constants: Mapping[str, Any]
    ) -> dict[str, Array | None]:
        places = slots(self._bsig, list(primals), list(constants), who="backward", spare=set(constants))
        args, kwargs = arguments(self._bsig, places, {**constants, **primals})
        found = assign(run("backward", self._backward, *args, **kwargs), primals, "backward")
        shapes = {g.shape for g in found.values() if g is not None}
        if isinstance(out, Mapping) or (out.size != 1 and shapes != {out.shape}):
            raise AdapterError(self._no_upstream())
        return {n: scaled(upstream, out.shape, g, "backward") for n, g in found.items()}

    def _is_derivative(self) -> bool:
        """One parameter, named like an input or an activation and not like an upstream gradient."""
        if len(self._bsig.required or self._bsig.names) != 1 or self._bsig.opaque:
            return False
        name = self._bsig.names[0]
        return (
            name in self._fsig.names
            or name in ("z", "x", "Z", "X")
            or (name in ACTIVATIONS and not UPSTREAM.match(name))
        )

    def _derivative(
        self, upstream: Out, out: Out, native: Any, primals: Arrays, constants: Mapping[str, Any]
    ) -> Gradients:
        if len(primals) != 1 or isinstance(out, Mapping):
            raise AdapterError(f"an elementwise derivative {self._bsig} has one primal, not {', '.join(primals)}")
        parameter = self._bsig.names[0] if self._bsig.names else ""
        of_output = self._of == "output" or (
            not self._of and parameter in ACTIVATIONS and parameter not in self._fsig.names
        )
        ((name, value),) = primals.items()
        settings = {n: constants[n] for n in self._bsig.names[1:] if n in constants}
        slope = assign(run("backward", self._backward, native if of_output else value, **settings), primals)[name]
        return {name: scaled(upstream, out.shape, slope, "backward")}
