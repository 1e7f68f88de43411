"""Between NumPy and torch, and how a custom ``autograd.Function`` is run without its backward. torch is passed in."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from gradverify.adapters._arrays import is_tensor, tensor_array
from gradverify.adapters._bind import Signature, signature
from gradverify.errors import AdapterError, UsageError, need
from gradverify.types import Array, Out


def torch_for(what: str) -> Any:
    """The torch module, or MissingExtra that says what it is needed for."""
    return need("torch", "torch", what)


def dtype_named(torch: Any, dtype: Any) -> Any:
    """``"float32"``, ``np.float32`` or ``torch.float32`` as a torch dtype; None stays None. Raises UsageError."""
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    name = dtype.removeprefix("torch.") if isinstance(dtype, str) else np.dtype(dtype).name
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UsageError(f"torch has no floating-point dtype {dtype!r}; use float64, float32, float16 or bfloat16")
    return found


def device_named(torch: Any, device: Any) -> Any:
    """``device`` as it is. Raises UsageError where this torch cannot use it."""
    if device is not None:
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"device={device!r}: {str(error).splitlines()[0]}") from error
    return device


def numpy_less(dtype: Any) -> str | None:
    """The name of a torch dtype that NumPy does not have, else None."""
    return "bfloat16" if str(dtype) == "torch.bfloat16" else None


def to_tensor(torch: Any, value: Any, dtype: Any = None, device: Any = None) -> Any:
    """An array as a tensor that shares its memory where dtype and device allow; floats are cast to ``dtype``."""
    if not is_tensor(value):
        array = np.asarray(value)
        if any(s < 0 for s in array.strides) or not array.dtype.isnative:  # torch has neither
            array = np.array(array, dtype=array.dtype.newbyteorder("="))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a read-only array is shared knowingly
            value = torch.from_numpy(array)
    wanted = dtype if dtype is not None and value.is_floating_point() else value.dtype
    return value.to(device=device, dtype=wanted)


def continuous(tensor: Any) -> bool:
    """Whether torch can differentiate with respect to it: real or complex floating point."""
    return bool(tensor.is_floating_point() or tensor.is_complex())


def constant(torch: Any, value: Any, dtype: Any = None, device: Any = None) -> Any:
    """A constant: arrays and tensors as private tensors, anything else unchanged."""
    if isinstance(value, np.ndarray) or is_tensor(value):
        return to_tensor(torch, value, dtype, device).detach().clone()
    return value


def float_outputs(raw: Any, prefix: str = "") -> dict[str, Any]:
    """The floating-point tensors of a nested output by name; ``""`` for a single tensor."""
    if is_tensor(raw):
        return {prefix: raw} if continuous(raw) else {}
    items: list[tuple[Any, Any]] = []
    if isinstance(raw, Mapping):
        items = list(raw.items())
    elif isinstance(raw, (tuple, list)):
        items = list(enumerate(raw))
    return {
        n: t for k, v in items for n, t in float_outputs(v, f"{prefix}.{k}" if prefix else str(k)).items()
    }  # fmt: skip


def single(outputs: Mapping[str, Any]) -> Any:
    """The only tensor itself, several as a dict."""
    return next(iter(outputs.values())) if len(outputs) == 1 else dict(outputs)


def checked_outputs(raw: Any, who: str) -> dict[str, Any]:
    """As ``float_outputs``; raises AdapterError when there is none."""
    outputs = float_outputs(raw)
    if not outputs:
        raise AdapterError(
            f"{who} returned {type(raw).__name__}, not a floating-point tensor (or a tuple or dict of them)"
        )
    return outputs


def out_of(outputs: Mapping[str, Any]) -> Out:
    """Tensors as arrays."""
    arrays: dict[str, Array] = {n: tensor_array(t) for n, t in outputs.items()}
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def upstream_tensors(torch: Any, upstream: Out, outputs: Mapping[str, Any]) -> list[Any]:
    """The upstream in the order of ``outputs``, with their dtypes and devices; None for an output that has none."""
    parts = dict(upstream) if isinstance(upstream, Mapping) else {next(iter(outputs)): upstream}
    return [to_tensor(torch, parts[n], t.dtype, t.device) if n in parts else None for n, t in outputs.items()]


@contextmanager
def upstream_shown(torch: Any, upstream: Out, outputs: Mapping[str, Any]) -> Iterator[list[Any]]:
    """The upstream as tensors; what is written into them inside is in the caller's arrays afterwards.

    A conversion (another dtype, another device) would hide that a backward changed its upstream.
    """
    tensors = upstream_tensors(torch, upstream, outputs)
    before = [None if t is None else t.clone() for t in tensors]
    yield tensors
    parts = dict(upstream) if isinstance(upstream, Mapping) else {next(iter(outputs)): upstream}
    for name, now, then in zip(outputs, tensors, before, strict=True):
        if now is None:
            continue
        array = parts[name]
        if isinstance(array, np.ndarray) and array.flags.writeable and not torch.equal(now, then):
            array[...] = tensor_array(now)


def gradients(
    torch: Any, outputs: list[Any], wanted: list[Any], upstream: list[Any], *, refused: bool = False
) -> tuple[Any, ...]:
    """As ``torch.autograd.grad``, None for what is unused; with what backward itself leaves in ``.grad``.

    refused  the code bears no torch.autograd.grad (older checkpoints, code that frees its input): by ``backward()``
    """
    leaves = [t for t in wanted if t.is_leaf]
    for t in leaves:
        t.grad = None
    found: tuple[Any, ...] = (None,) * len(wanted)
    if refused and len(leaves) == len(wanted):
        torch.autograd.backward(outputs, upstream, retain_graph=True)
    else:
        found = torch.autograd.grad(outputs, wanted, upstream, allow_unused=True, retain_graph=True)
    left = [t.grad if t.is_leaf else None for t in wanted]
    for t in leaves:
        t.grad = None
    return tuple(b if a is None else a if b is None else a + b for a, b in zip(found, left, strict=True))


class Held:
    """A module that has other tensors as its parameters and buffers, in its forward and in its backward.

    Why the backward: checkpointing runs the forward again there, and a custom Function may read ``module.weight``.
    """

    def __init__(self, torch: Any, module: Any) -> None:
        class Holder(torch.nn.Module):  # type: ignore[misc]  # torch is passed in, so its classes are Any
            def __init__(self) -> None:
                super().__init__()
                self.held = module

            def forward(self, do: Any) -> Any:
                return do(module)

        self._torch, self._module = torch, module
        self._holder, self._state = Holder(), dict[str, Any]()

    def again(self) -> Held:
        """The same module for another forward, whose backward must not meet the tensors of this one."""
        return Held(self._torch, self._module)

    def given(self, state: Mapping[str, Any]) -> None:
        """From now on with these parameters and buffers."""
        self._state = {f"held.{n}": t for n, t in state.items()}

    def __call__(self, do: Any) -> Any:
        """``do(module)`` with them in their places."""
        return self._torch.func.functional_call(self._holder, self._state, (do,))


def drawn_as(torch: Any, narrow: Any, now: Any) -> AbstractContextManager[Any]:
    """Inside, random numbers are those of the dtype ``narrow`` where code runs in float64 (``now``) for once."""
    if narrow is None or narrow == now or now is not torch.float64:
        return nullcontext()
    from gradverify._torch_draws import DrawnAs

    mode: AbstractContextManager[Any] = DrawnAs(narrow)
    return mode


class Context:
    """What ``ctx`` is to the forward and backward of a custom Function, without an engine behind it."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Any, ...] = ()
        self.materialize_grads = True
        self.dirty_tensors: tuple[Any, ...] = ()
        self.non_differentiable: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    @property
    def saved_variables(self) -> tuple[Any, ...]:
        """The old name of ``saved_tensors``, which torch still has."""
        return self.saved_tensors

    def save_for_forward(self, *tensors: Any) -> None:
        self.saved_for_forward = tensors

    def mark_dirty(self, *tensors: Any) -> None:
        self.dirty_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        self.non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        self.materialize_grads = value


def taken_by(torch: Any, function: Any) -> Signature:
    """What the ``apply`` of a custom Function takes: the arguments of its forward after ctx."""
    sig = signature(function.forward)
    new_style = function.setup_context is not torch.autograd.Function.setup_context
    names = sig.names if new_style or not sig.names else sig.names[1:]
    return Signature(names=names, required=sig.required & set(names), star=sig.star)


def applied(torch: Any, call: Any) -> Any:
    """The Function whose ``apply`` a callable is, else None."""
    owner = getattr(call, "__self__", None)
    custom = isinstance(owner, type) and issubclass(owner, torch.autograd.Function)
    return owner if custom and getattr(call, "__name__", "") == "apply" else None


def forward_only(
    torch: Any, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
) -> tuple[Any, Context]:
    """Run the forward of a custom Function as ordinary torch code: (output, ctx)."""
    needs = tuple(is_tensor(a) and bool(a.requires_grad) for a in args)
    ctx = Context(needs)
    # in-place code must not meet a leaf, which torch would refuse
    args = tuple(a.clone() if is_tensor(a) and a.is_leaf and a.requires_grad else a for a in args)
    base = torch.autograd.Function.setup_context
    if getattr(function.setup_context, "__func__", function.setup_context) is getattr(base, "__func__", base):
        return function.forward(ctx, *args, **(kwargs or {})), ctx
    out = function.forward(*args, **(kwargs or {}))
    return out, ctx


@contextmanager
def backward_bypassed(torch: Any) -> Iterator[None]:
    """Inside, ``SomeFunction.apply(...)`` runs ``SomeFunction.forward`` under the ordinary autograd engine.

    Why: an oracle that differentiates a module through torch would otherwise call the very backward that is on trial
    and agree with it. The method is replaced on torch's own base classes, below ``Function.apply``, so that
    ``relu = MyRelu.apply`` bound at import is reached too. It is put back whatever happens; not thread-safe.
    """

    def bypass(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if cls is getattr(checkpoint, "CheckpointFunction", None):  # (function, preserve_rng_state, *its arguments)
            return args[0](*args[2:])
        return forward_only(torch, cls, args, kwargs)[0]

    def kept(*_: Any, **__: Any) -> Iterator[None]:
        yield

    # checkpointing would run the forward again in the backward, outside of this block
    checkpoint = torch.utils.checkpoint
    again = getattr(checkpoint, "_checkpoint_without_reentrant_generator", None)

    function = torch.autograd.Function
    below = function.__mro__[1]  # Function.apply ends in super().apply, which finds this one first
    own, had = function.__dict__["apply"], below.__dict__.get("apply")
    function.apply = classmethod(bypass)
    below.apply = classmethod(bypass)
    if again is not None:
        checkpoint._checkpoint_without_reentrant_generator = kept
    try:
        yield
    finally:
        if again is not None:
            checkpoint._checkpoint_without_reentrant_generator = again
        function.apply = own
        if had is None:
            del below.apply
        else:
            below.apply = had
