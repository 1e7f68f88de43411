"""A ``torch.nn.Module``, or any callable on torch tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from gradverify import registry
from gradverify.adapters import _torch as between
from gradverify.adapters._arrays import given, is_tensor, tensor_array
from gradverify.adapters._bind import arguments, run, signature, slots
from gradverify.adapters._casts import Casts
from gradverify.adapters._containers import Containers
from gradverify.adapters._gradients import as_gradient
from gradverify.adapters._seeds import Randomness
from gradverify.errors import AdapterError, Unsupported, UsageError
from gradverify.types import LARGE, Array, Arrays, Case, Gradients, Out, Pullback, Run


@registry.adapter("torch_module")
class TorchModule:
    """A torch.nn.Module with its parameters as primals, or any callable on torch tensors.

    subject  used on copies through torch.func.functional_call: parameters, buffers and the train or eval mode stay
    device   where to run, for example "cuda"
    dtype    "float64", "float32", "float16" or "bfloat16": parameters, buffers and floating-point primals are
             cast to it; default: the dtype of the module's parameters, else that of the primals
    own_functions  whether ``call`` keeps the backward of custom Functions: they are not on trial
    Raises MissingExtra without torch, UsageError when ``subject`` is not callable.
    """

    framework = "torch"
    traits = frozenset({"engine", "partial-upstream"})
    priority = 5
    accepted = "a torch.nn.Module, or a callable on torch tensors: gv.verify(module, primals)"

    def __init__(
        self, subject: Any, *, device: Any = None, dtype: Any = None, own_functions: bool = False, name: str = ""
    ) -> None:
        torch = self._torch = between.torch_for("gv.torch_module")
        if not callable(subject):
            raise UsageError(f"torch_module needs a torch.nn.Module or a callable on tensors, not {subject!r}")
        self._module = subject if isinstance(subject, torch.nn.Module) else None
        self._fn = subject
        if self._module is not None and any(hasattr(p, "materialize") for p in self._module.parameters()):
            raise UsageError(f"{type(subject).__name__} has parameters of no shape yet: call it once with data first")
        own = [p.dtype for p in subject.parameters() if p.is_floating_point()] if self._module is not None else []
        self._dtype = between.dtype_named(torch, dtype) or next(iter(own), None)
        device = between.device_named(torch, device)
        self.device = device if device is not None or not own else next(subject.parameters()).device
        custom = between.applied(torch, subject)
        forward = subject.forward if self._module is not None else subject
        self._sig = signature(forward) if custom is None else between.taken_by(torch, custom)
        self.dtype = between.numpy_less(self._dtype)
        self.name = name or getattr(subject, "__name__", type(subject).__name__)
        self._narrow: Any = None  #: the dtype that the last run computed in
        self._casts = Casts(torch)
        self._own_functions = own_functions
        self._refuses = False  #: it does not bear torch.autograd.grad
        self._owned = False  #: its inputs must lie in memory of torch's own
        self._runs: list[tuple[Out, between.Held]] = []  #: the last few outputs with their modules, for ``again``

    @classmethod
    def accepts(cls, subject: object) -> bool:
        """A module, or (asked only after the NumPy adapters, unless tensors or a device are given) any callable."""
        return callable(subject) and not isinstance(subject, type)

    @classmethod
    def adapt(cls, subject: Any, **options: Any) -> TorchModule:
        return cls(subject, **options)

    def over_arrays(self, containers: Containers) -> TorchModule:
        """A callable over tensors, where primals are containers of tensors. Raises UsageError for a module."""
        if self._module is not None:
            raise containers.refusal(self.name)
        return TorchModule(
            containers.forward(self._fn), device=self.device, dtype=self._dtype,
            own_functions=self._own_functions, name=self.name,
        )  # fmt: skip

    @property
    def cast_to(self) -> tuple[float, ...]:
        """Unit roundoffs of the other types that the forward casts to by itself; known after a run."""
        return self._casts.met

    @property
    def _own(self) -> dict[str, Any]:
        return dict(self._module.named_parameters()) if self._module is not None else {}

    def parameters(self) -> dict[str, Array]:
        """The parameters that require a gradient, by their names, at their current values; large ones as views."""
        if self._module is None:
            return {}
        wanted = {n: p.detach() for n, p in self._module.named_parameters() if p.requires_grad}
        found = {n: tensor_array(p if p.is_complex() else p.to(self._dtype)) for n, p in wanted.items()}
        return {n: a if a.nbytes >= LARGE else a.copy() for n, a in found.items()}

    @property
    def stateful(self) -> bool:
        """Whether it has buffers of floating numbers, which belong to the parameters that it has now."""
        return self._module is not None and any(b.is_floating_point() for b in self._module.buffers())

    def rounded(self, primals: Arrays) -> dict[str, Array]:
        """The primals as the module's dtype holds them; what it holds as it is stays the very array."""
        held = {n: self._dtype is None or f"torch.{a.dtype}" == str(self._dtype) for n, a in primals.items()}
        cast = {n: between.to_tensor(self._torch, a.copy(), self._dtype) for n, a in primals.items() if not held[n]}
        return {n: primals[n] if held[n] else tensor_array(cast[n]) for n in primals}

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The forward on torch tensors of any dtype; custom Functions inside run by their forward only.

        An oracle that differentiates this must not meet the backward that is on trial: see ``backward_bypassed``.
        """
        like = next((t for t in primals.values() if is_tensor(t) and t.is_floating_point()), None)
        dtype, device = (like.dtype, like.device) if like is not None else (self._dtype, self.device)
        bypassed = nullcontext() if self._own_functions else between.backward_bypassed(self._torch)
        with Randomness().forward(), bypassed, between.drawn_as(self._torch, self._narrow or self._dtype, dtype):
            return self._casts.kept_wide(
                lambda: self.pick(self._forward(self._fresh(), primals, constants, dtype, device)), dtype
            )

    def pick(self, raw: Any) -> Any:
        """The floating-point outputs: a tensor, or a dict of them by their place (``0``, ``1.h``)."""
        return between.single(between.checked_outputs(raw, self.name))

    def evaluate(self, case: Case) -> Out:
        """The forward alone."""
        leaves = self._leaves(case)
        try:
            with Randomness().forward(), self._torch.no_grad():
                raw = run(self.name, self._forward, self._fresh(), leaves, case.constants, self._dtype, self.device)
        except AdapterError as error:
            if self._wants_its_own_memory(error):
                return self.evaluate(case)
            raise
        return between.out_of(between.checked_outputs(raw, self.name))

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Through the engine with the module's own backward; None where the engine found the primal unused."""
        return self.vjp_wrt(case, frozenset(case.primals))

    def vjp_wrt(self, case: Case, names: frozenset[str]) -> tuple[Out, Pullback]:
        """As ``vjp`` with only ``names`` requiring a gradient."""
        return self._on(self._fresh(), case, names)

    def again(self, run_before: Run, case: Case) -> tuple[Out, Pullback]:
        """Forward once more, at ``case``, on the module of an earlier run, with the pullback of this forward.

        Raises Unsupported when that run is not among the last few of this adapter, or the subject is no module.
        """
        held = next((h for out, h in self._runs if out is run_before.out), None)
        if held is None:
            raise Unsupported(f"that run of {self.name} is not kept")
        return self._on(held.again(), case, frozenset(case.primals))

    def _on(self, held: between.Held | None, case: Case, names: frozenset[str]) -> tuple[Out, Pullback]:
        torch = self._torch
        leaves = self._leaves(case)
        self._narrow = next((t.dtype for t in leaves.values() if t.is_floating_point()), None)
        wanted = {n: t.requires_grad_() for n, t in leaves.items() if n in names and between.continuous(t)}
        for n in wanted.keys() & self._own.keys():  # what is hooked to a parameter changes its gradient in training
            for hook in (self._own[n]._backward_hooks or {}).values():
                wanted[n].register_hook(hook)
        randomness = Randomness()
        with randomness.forward(), torch.enable_grad():
            # code that refuses torch.autograd.grad may write to the .grad of its inputs: so these are no leaves then
            fed = {n: t.view_as(t) if self._refuses and n not in self._own else t for n, t in leaves.items()}
            try:
                asked = held, fed, case.constants, self._dtype, self.device
                raw = self._casts.noting(lambda: run(self.name, self._forward, *asked), self._narrow)
            except AdapterError as error:
                if not self._wants_its_own_memory(error):
                    raise
                return self._on(self._fresh(), case, names)
        outputs = between.checked_outputs(raw, self.name)

        def pullback(upstream: Out) -> Gradients:
            ups = dict(zip(outputs, between.upstream_tensors(torch, upstream, outputs), strict=True))
            live = {n: t for n, t in outputs.items() if t.requires_grad and ups[n] is not None}
            found = (None,) * len(wanted)
            if live and wanted:
                asked = torch, list(live.values()), list(wanted.values()), [ups[n] for n in live]
                try:
                    with randomness.pullback():
                        found = run(f"the backward of {self.name}", _asked_in, held, asked, refused=self._refuses)
                except AdapterError as error:
                    if self._refuses or "compatible with .grad()" not in str(error):
                        raise
                    self._refuses = True
                    return self._on(self._fresh(), case, names)[1](upstream)
            by_name = dict(zip(wanted, found, strict=True))
            return {n: as_gradient(n, by_name.get(n)) for n in case.primals}

        out = between.out_of(outputs)
        if held is not None:
            self._runs = [*self._runs[-3:], (out, held)]
        return out, pullback

    def _leaves(self, case: Case) -> dict[str, Any]:
        made = {n: self._laid_out(n, between.to_tensor(self._torch, a, self._dtype, self.device).detach())
                for n, a in given(case).items()}  # fmt: skip
        return {n: t.clone() for n, t in made.items()} if self._owned else made

    def _wants_its_own_memory(self, error: AdapterError) -> bool:
        """Whether a forward failed because it frees its input, which NumPy's memory does not allow; noted once."""
        wants = not self._owned and "not resizable" in str(error)
        self._owned |= wants
        return wants

    def _laid_out(self, name: str, tensor: Any) -> Any:
        """A parameter lies in memory as the module's own does: nobody hands a module strided weights.

        Why it matters: torch 2.13's batch_norm backward on the CPU reads a strided weight as if it were contiguous.
        """
        own = self._own.get(name)
        if own is None or own.shape != tensor.shape or own.stride() == tensor.stride():
            return tensor
        return self._torch.empty_like(own, dtype=tensor.dtype, device=tensor.device).copy_(tensor).detach()

    def _forward(
        self,
        held: between.Held | None,
        primals: Mapping[str, Any],
        constants: Mapping[str, Any],
        dtype: Any,
        device: Any,
    ) -> Any:
        own = self._own
        inputs = {n: v for n, v in primals.items() if n not in own}
        fixed = {k: between.constant(self._torch, v, dtype, device) for k, v in constants.items()}
        places = slots(self._sig, list(inputs), list(fixed), who=self.name)
        args, kwargs = arguments(self._sig, places, {**fixed, **inputs})
        if self._module is None or held is None:
            return self._fn(*args, **kwargs)
        state = {n: between.constant(self._torch, p, dtype, device) for n, p in own.items() if n not in primals}
        state |= {n: between.constant(self._torch, b, dtype, device) for n, b in self._module.named_buffers()}
        state |= {n: v for n, v in primals.items() if n in own}
        held.given(state)
        return held(lambda module: module(*args, **kwargs))

    def _fresh(self) -> between.Held | None:
        """A copy for what a forward leaves on the module; parameters are shared, others are put in their places."""
        if self._module is None:
            return None
        try:
            module = copy.deepcopy(self._module, {id(p): p for p in self._module.parameters()})
        except (RuntimeError, TypeError, ValueError):  # holds something that cannot be copied: a graph, a lock
            module = self._module
        return between.Held(self._torch, module)


def _asked_in(held: between.Held | None, asked: tuple[Any, ...], *, refused: bool) -> tuple[Any, ...]:
    """Gradients, with the module as it was in the forward."""

    def ask(_: Any = None) -> tuple[Any, ...]:
        return between.gradients(*asked, refused=refused)

    found: tuple[Any, ...] = ask() if held is None else held(ask)
    return found
