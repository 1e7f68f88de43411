"""A ``torch.autograd.Function`` subclass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gradverify import registry
from gradverify.adapters import _torch as between
from gradverify.adapters._arrays import as_array, given, is_tensor, tensor_array
from gradverify.adapters._bind import run, slots
from gradverify.adapters._casts import Casts
from gradverify.adapters._gradients import as_gradient
from gradverify.adapters._seeds import Randomness
from gradverify.errors import AdapterError, Unsupported, UsageError
from gradverify.types import Case, Gradients, Out, Pullback

#: what torch says of a backward that returns too few gradients, or no tensors
COUNT = re.compile(r"incorrect number of gradients \(expected (\d+), got (\d+)\)")
KIND = re.compile(r"expected Variable or None \(got ([\w.]+)\)")


@registry.adapter("torch_function")
class TorchFunction:
    """A torch.autograd.Function: apply and the engine for the value, its forward alone for the oracles.

    function  the subclass; primals and constants are matched to the arguments of its forward (after ctx)
    device    where to run, for example "cuda"; dtype: floating-point primals are cast to it
    Raises MissingExtra without torch, UsageError when ``function`` is no Function subclass.
    """

    framework = "torch"
    priority = 90
    accepted = "a torch.autograd.Function subclass: gv.verify(MyFunction, primals)"
    traits = frozenset({"engine", "partial-upstream"})

    def __init__(self, function: Any, *, device: Any = None, dtype: Any = None, name: str = "") -> None:
        self._torch = between.torch_for("gv.torch_function")
        if not self.accepts(function):
            raise UsageError(f"torch_function needs a torch.autograd.Function subclass, not {function!r}")
        self._function, self.device = function, between.device_named(self._torch, device)
        self._dtype = between.dtype_named(self._torch, dtype)
        self.dtype = between.numpy_less(self._dtype)
        self._narrow: Any = None  #: the dtype that the last run computed in
        self._casts = Casts(self._torch)
        self.name = name or function.__name__
        self._new_style = function.setup_context is not self._torch.autograd.Function.setup_context
        self._sig = between.taken_by(self._torch, function)

    @property
    def cast_to(self) -> tuple[float, ...]:
        """Unit roundoffs of the other types that the forward casts to by itself; known after a run."""
        return self._casts.met

    @classmethod
    def accepts(cls, subject: object) -> bool:
        """A class that has torch.autograd.Function among its bases."""
        bases = subject.__mro__ if isinstance(subject, type) else ()
        return any(b.__module__ == "torch.autograd.function" and b.__name__ == "Function" for b in bases)

    @classmethod
    def adapt(cls, subject: Any, **options: Any) -> TorchFunction:
        return cls(subject, **options)

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The forward on torch tensors, differentiated by torch itself: the custom backward is not used.

        Raises Unsupported when the forward leaves torch (detach, NumPy, no_grad), so that torch sees no graph.
        """
        tensors = [v for v in primals.values() if is_tensor(v)]
        like = next((t for t in tensors if t.is_floating_point()), None)
        dtype, device = (like.dtype, like.device) if like is not None else (None, None)
        args = self._args(primals, {k: between.constant(self._torch, v, dtype, device) for k, v in constants.items()})
        drawn = between.drawn_as(self._torch, self._narrow, dtype)
        with Randomness().forward(), between.backward_bypassed(self._torch), drawn:
            out = self._casts.kept_wide(
                lambda: self.pick(between.forward_only(self._torch, self._function, tuple(args))[0]), dtype
            )
        outs = out.values() if isinstance(out, dict) else [out]
        if any(t.requires_grad for t in tensors) and not any(getattr(o, "requires_grad", False) for o in outs):
            raise Unsupported(
                f"the forward of {self.name} leaves torch (detach, numpy or no_grad): torch cannot differentiate it"
            )
        return out

    def pick(self, raw: Any) -> Any:
        """The floating-point outputs: a tensor, or a dict of them in their order."""
        return between.single(between.checked_outputs(raw, f"{self.name}.forward"))

    def evaluate(self, case: Case) -> Out:
        """The forward alone, through apply."""
        args, _ = self._leaves(case, frozenset())
        with Randomness().forward(), self._torch.no_grad():
            raw = run(f"{self.name}.forward", self._function.apply, *args)
        return between.out_of(between.checked_outputs(raw, f"{self.name}.forward"))

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Through apply and torch.autograd.grad; None where the engine found the primal unused."""
        return self.vjp_wrt(case, frozenset(case.primals))

    def vjp_wrt(self, case: Case, names: frozenset[str]) -> tuple[Out, Pullback]:
        """As ``vjp`` with only ``names`` requiring a gradient: ctx.needs_input_grad is False for the others."""
        torch = self._torch
        args, leaves = self._leaves(case, names)
        randomness = Randomness()
        with randomness.forward(), torch.enable_grad():
            try:
                raw = self._casts.noting(lambda: self._function.apply(*args), self._narrow)
            except RuntimeError as error:
                if "leaf Variable" not in str(error):
                    raise AdapterError(f"{self.name}.forward raised {type(error).__name__}: {error}") from error
                # in place by design (mark_dirty), which torch refuses on leaves: but it has written into them already
                args, leaves = self._leaves(case, names)
                raw = self._function.apply(*(a.clone() if is_tensor(a) else a for a in args))
            except Exception as error:
                raise AdapterError(f"{self.name}.forward raised {type(error).__name__}: {error}") from error
        outputs = between.checked_outputs(raw, f"{self.name}.forward")
        wanted = {n: t for n, t in leaves.items() if t.requires_grad}

        def pullback(upstream: Out) -> Gradients:
            found = (None,) * len(wanted)
            with randomness.pullback(), between.upstream_shown(torch, upstream, outputs) as tensors:
                ups = dict(zip(outputs, tensors, strict=True))
                live = {n: t for n, t in outputs.items() if t.requires_grad and ups[n] is not None}
                if live:
                    try:
                        found = run(
                            f"{self.name}.backward", between.gradients, torch, list(live.values()),
                            list(wanted.values()), [ups[n] for n in live],
                        )  # fmt: skip
                    except AdapterError as error:
                        return self._refused(case, upstream, error)
            by_name = dict(zip(wanted, found, strict=True))
            return {n: as_gradient(n, by_name.get(n)) for n in case.primals}

        return between.out_of(outputs), pullback

    def _refused(self, case: Case, upstream: Out, error: AdapterError) -> Gradients:
        """What the engine does not take: a gradient of another shape is judged as it is, the rest said plainly."""
        said = str(error)
        if "returned an invalid gradient" in said and (not isinstance(upstream, Mapping) or len(upstream) > 1):
            try:
                return self.raw_vjp(case)[1](upstream)
            except (AdapterError, KeyError):
                raise error from error.__cause__
        order = ", ".join(self._order(list(case.primals), list(case.constants)))
        if (count := COUNT.search(said)) is not None:
            raise AdapterError(
                f"{self.name}.backward returned {count[2]} gradients; expected {count[1]}, one per argument of "
                f"forward, in the order {order} (None for what is not differentiable)"
            ) from error.__cause__
        if (kind := KIND.search(said)) is not None:
            raise AdapterError(
                f"{self.name}.backward returned a {kind[1]}; expected a tensor or None for each of {order}"
            ) from error.__cause__
        raise error from error.__cause__

    def raw_vjp(self, case: Case) -> tuple[Out, Pullback]:
        """``F.forward(ctx, ...)`` and ``F.backward(ctx, upstream)`` called directly, without the engine's repairs.

        What an engine would reshape, cast or copy (unreduced broadcast, wrong dtype, a mutated upstream) stays visible.
        """
        torch = self._torch
        args, _ = self._leaves(case, frozenset(case.primals))
        randomness = Randomness()
        with randomness.forward(), torch.no_grad():
            ctx = between.Context(tuple(is_tensor(a) and bool(a.requires_grad) for a in args))
            # code may look at requires_grad, which is true inside of the engine's forward, too
            args = [a.detach().requires_grad_(a.requires_grad) if is_tensor(a) else a for a in args]
            if self._new_style:
                raw = run(f"{self.name}.forward", self._function.forward, *args)
                run(f"{self.name}.setup_context", self._function.setup_context, ctx, tuple(args), raw)
            else:
                raw = run(f"{self.name}.forward", self._function.forward, ctx, *args)
        outputs = between.checked_outputs(raw, f"{self.name}.forward")
        order = self._order(list(case.primals), list(case.constants))

        def pullback(upstream: Out) -> Gradients:
            with (
                randomness.pullback(),
                torch.no_grad(),
                between.upstream_shown(torch, upstream, outputs) as tensors,
            ):
                given_back = tensors
                if isinstance(raw, (tuple, list)):  # integer outputs have an upstream too, and it is None or zero
                    by_id = {id(t): u for t, u in zip(outputs.values(), tensors, strict=True)}
                    given_back = [by_id.get(id(t)) for t in raw]
                result = run(f"{self.name}.backward", self._function.backward, ctx, *given_back)
            values = list(result) if isinstance(result, (tuple, list)) else [result]
            if len(values) < len(order) or any(v is not None for v in values[len(order) :]):
                names = ", ".join(order)
                raise AdapterError(
                    f"{self.name}.backward returned {len(values)} gradients; expected {len(order)}, one per "
                    f"argument of forward, in the order {names} (None for what is not differentiable)"
                )
            got = dict(zip(order, values, strict=False))
            return {n: None if got.get(n) is None else self._plain(n, got[n]) for n in case.primals}

        return between.out_of(outputs), pullback

    def _plain(self, name: str, value: Any) -> Any:
        return (
            tensor_array(value)
            if is_tensor(value)
            else as_array(value, f"the gradient of {name!r} from {self.name}.backward")
        )

    def _order(self, primals: list[str], constants: list[str]) -> list[str]:
        places = slots(self._sig, primals, constants, who=f"{self.name}.forward")
        by_parameter = {p: n for n, p in places.items() if p}
        return [by_parameter[p] for p in self._sig.names if p in by_parameter] + [n for n, p in places.items() if not p]

    def _args(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> list[Any]:
        values = {**constants, **primals}
        return [values[n] for n in self._order(list(primals), list(constants))]

    def _leaves(self, case: Case, wrt: frozenset[str]) -> tuple[list[Any], dict[str, Any]]:
        torch = self._torch
        leaves = {n: between.to_tensor(torch, a, self._dtype, self.device).detach() for n, a in given(case).items()}
        if wrt:
            self._narrow = next((t.dtype for t in leaves.values() if t.is_floating_point()), None)
        for n, t in leaves.items():
            t.requires_grad_(n in wrt and between.continuous(t))
        constants = {k: between.constant(torch, v, self._dtype, self.device) for k, v in case.constants.items()}
        return self._args(leaves, constants), leaves
