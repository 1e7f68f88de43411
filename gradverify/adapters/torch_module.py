"""A ``torch.nn.Module``, or any callable on torch tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from gradverify import registry
from gradverify.adapters import _torch as between
from gradverify.adapters._arrays import given, is_tensor, tensor_array
from gradverify.adapters._bind import arguments, run, signature, slots
from gradverify.adapters._gradients import as_gradient
from gradverify.adapters._seeds import Randomness
from gradverify.errors import UsageError
from gradverify.types import Array, Arrays, Case, Gradients, Out, Pullback


@registry.adapter("torch_module")
class TorchModule:
    """A torch.nn.Module with its parameters as primals, or any callable on torch tensors.

    subject  used through torch.func.functional_call: parameters, buffers and the train or eval mode stay
    device   where to run, for example "cuda"
    dtype    "float64", "float32", "float16" or "bfloat16": parameters, buffers and floating-point primals are
             cast to it; default: the dtype of the module's parameters, else that of the primals
    Raises MissingExtra without torch, UsageError when ``subject`` is not callable.
    """

    framework = "torch"
    traits = frozenset({"engine"})
    priority = 5
    accepted = "a torch.nn.Module, or a callable on torch tensors: gv.verify(module, primals)"

    def __init__(self, subject: Any, *, device: Any = None, dtype: Any = None, name: str = "") -> None:
        torch = self._torch = between.torch_for("gv.torch_module")
        if not callable(subject):
            raise UsageError(f"torch_module needs a torch.nn.Module or a callable on tensors, not {subject!r}")
        self._module = subject if isinstance(subject, torch.nn.Module) else None
        self._fn = subject
        own = [p.dtype for p in subject.parameters() if p.is_floating_point()] if self._module is not None else []
        self._dtype = between.dtype_named(torch, dtype) or next(iter(own), None)
        self.device = device if device is not None or not own else next(subject.parameters()).device
        self._sig = signature(subject.forward if self._module is not None else subject)
        self.dtype = between.numpy_less(self._dtype)
        self.name = name or getattr(subject, "__name__", type(subject).__name__)

    @classmethod
    def accepts(cls, subject: object) -> bool:
        """A module, or (asked only after the NumPy adapters, unless tensors or a device are given) any callable."""
        return callable(subject) and not isinstance(subject, type)

    @classmethod
    def adapt(cls, subject: Any, **options: Any) -> TorchModule:
        return cls(subject, **options)

    @property
    def _own(self) -> dict[str, Any]:
        return dict(self._module.named_parameters()) if self._module is not None else {}

    def parameters(self) -> dict[str, Array]:
        """The parameters that require a gradient, by their names, at their current values."""
        if self._module is None:
            return {}
        named = self._module.named_parameters()
        return {n: tensor_array(p.detach().to(self._dtype)).copy() for n, p in named if p.requires_grad}

    def rounded(self, primals: Arrays) -> dict[str, Array]:
        """The primals as the module's dtype holds them."""
        cast = {n: between.to_tensor(self._torch, a.copy(), self._dtype) for n, a in primals.items()}
        return {n: tensor_array(t) for n, t in cast.items()}

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The forward on torch tensors of any dtype; custom Functions inside run by their forward only.

        An oracle that differentiates this must not meet the backward that is on trial: see ``backward_bypassed``.
        """
        like = next((t for t in primals.values() if is_tensor(t) and t.is_floating_point()), None)
        dtype, device = (like.dtype, like.device) if like is not None else (self._dtype, self.device)
        with Randomness().forward(), between.backward_bypassed(self._torch):
            return self.pick(self._forward(primals, constants, dtype, device))

    def pick(self, raw: Any) -> Any:
        """The floating-point outputs: a tensor, or a dict of them by their place (``0``, ``1.h``)."""
        return between.single(between.checked_outputs(raw, self.name))

    def evaluate(self, case: Case) -> Out:
        """The forward alone."""
        leaves = self._leaves(case)
        with Randomness().forward(), self._torch.no_grad():
            raw = run(self.name, self._forward, leaves, case.constants, self._dtype, self.device)
        return between.out_of(between.checked_outputs(raw, self.name))

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Through the engine with the module's own backward; None where the engine found the primal unused."""
        return self.vjp_wrt(case, frozenset(case.primals))

    def vjp_wrt(self, case: Case, names: frozenset[str]) -> tuple[Out, Pullback]:
        """As ``vjp`` with only ``names`` requiring a gradient."""
        torch = self._torch
        leaves = self._leaves(case)
        for n, t in leaves.items():
            t.requires_grad_(n in names and between.continuous(t))
        randomness = Randomness()
        with randomness.forward(), torch.enable_grad():
            forward, leaves = self._on_leaves(leaves)
            raw = run(self.name, forward, leaves, case.constants, self._dtype, self.device)
        wanted = {n: t for n, t in leaves.items() if t.requires_grad}
        outputs = between.checked_outputs(raw, self.name)

        def pullback(upstream: Out) -> Gradients:
            ups = dict(zip(outputs, between.upstream_tensors(torch, upstream, outputs), strict=True))
            live = {n: t for n, t in outputs.items() if t.requires_grad}
            found = (None,) * len(wanted)
            if live and wanted:
                with randomness.pullback():
                    found = run(
                        f"the backward of {self.name}", between.all_gradients, torch, list(live.values()),
                        list(wanted.values()), [ups[n] for n in live],
                    )  # fmt: skip
            by_name = dict(zip(wanted, found, strict=True))
            return {n: as_gradient(n, by_name.get(n)) for n in case.primals}

        return between.out_of(outputs), pullback

    def _leaves(self, case: Case) -> dict[str, Any]:
        return {n: self._laid_out(n, between.to_tensor(self._torch, a, self._dtype, self.device).detach())
                for n, a in given(case).items()}  # fmt: skip

    def _laid_out(self, name: str, tensor: Any) -> Any:
        """A parameter lies in memory as the module's own does: nobody hands a module strided weights.

        Why it matters: torch 2.13's batch_norm backward on the CPU reads a strided weight as if it were contiguous.
        """
        own = self._own.get(name)
        if own is None or own.shape != tensor.shape or own.stride() == tensor.stride():
            return tensor
        return self._torch.empty_like(own, dtype=tensor.dtype, device=tensor.device).copy_(tensor).detach()

    def _forward(self, primals: Mapping[str, Any], constants: Mapping[str, Any], dtype: Any, device: Any) -> Any:
        own = self._own
        args, kwargs = self._arguments(primals, constants, dtype, device)
        if self._module is None:
            return self._fn(*args, **kwargs)
        state = {n: between.constant(self._torch, p, dtype, device) for n, p in own.items() if n not in primals}
        state |= {n: between.constant(self._torch, b, dtype, device) for n, b in self._module.named_buffers()}
        state |= {n: v for n, v in primals.items() if n in own}
        return self._torch.func.functional_call(self._fresh(), state, tuple(args), kwargs)

    def _arguments(
        self, primals: Mapping[str, Any], constants: Mapping[str, Any], dtype: Any, device: Any
    ) -> tuple[list[Any], dict[str, Any]]:
        inputs = {n: v for n, v in primals.items() if n not in self._own}
        fixed = {k: between.constant(self._torch, v, dtype, device) for k, v in constants.items()}
        places = slots(self._sig, list(inputs), list(fixed), who=self.name)
        return arguments(self._sig, places, {**fixed, **inputs})

    def _on_leaves(self, leaves: dict[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
        """(the forward of a copy whose parameters are these leaves, the leaves); ``_forward`` where none can be made.

        Why: code that runs a part of the forward again within backward (checkpoints, reversible blocks) must find the
        same parameters there. What functional_call puts in place is gone by then.
        """
        own, torch = self._own, self._torch
        if self._module is None or not own:
            return self._forward, leaves

        def placed(tensor: Any) -> Any:
            return between.constant(torch, tensor, self._dtype, self.device).detach()

        made = {n: leaves.get(n, p) for n, p in own.items()}
        made = {n: torch.nn.Parameter(placed(t), requires_grad=t.requires_grad) for n, t in made.items()}
        memo = {id(p): made[n] for n, p in own.items()} | {id(b): placed(b).clone() for b in self._module.buffers()}
        try:
            module = copy.deepcopy(self._module, memo)
        except (RuntimeError, TypeError, ValueError):
            return self._forward, leaves
        if {id(p) for p in module.parameters()} != {id(p) for p in made.values()}:
            return self._forward, leaves  # it has parameters that a copy makes anew
        leaves = {n: made.get(n, t) for n, t in leaves.items()}

        def forward(primals: Mapping[str, Any], constants: Mapping[str, Any], dtype: Any, device: Any) -> Any:
            args, kwargs = self._arguments(primals, constants, dtype, device)
            return module(*args, **kwargs)

        return forward, leaves

    def _fresh(self) -> Any:
        """A copy for what a forward leaves on the module; parameters are shared, functional_call replaces them."""
        assert self._module is not None
        try:
            return copy.deepcopy(self._module, {id(p): p for p in self._module.parameters()})
        except (RuntimeError, TypeError, ValueError):  # holds something that cannot be copied: a graph, a lock
            return self._module
