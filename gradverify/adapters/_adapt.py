"""From a user's object to the adapter that drives it."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.adapters._advice import advice, order_of
from gradverify.adapters._arrays import describe, is_tensor, tensor_array
from gradverify.adapters._gradients import assign
from gradverify.adapters._pairs_of_reals import PairsOfReals
from gradverify.adapters._store import holds_tensors
from gradverify.adapters._tensors import use_tensors
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Adapter, private


def adapt(
    subject: Any,
    primals: Mapping[str, Any] | None = None,
    *,
    constants: Mapping[str, Any] | None = None,
    device: Any = None,
    dtype: Any = None,
    **options: Any,
) -> Adapter:
    """The adapter for ``subject``: each registered one is asked, the highest ``priority`` that accepts it wins.

    primals    torch tensors among them (or ``device``) make torch adapters be asked first
    constants  with the primals, used to find which array on an object is the gradient of which parameter
    options    passed on to the adapter, for example ``grads={"W": "dW"}``
    A dtype is for torch adapters; NumPy code computes in the dtype of its primals.
    Raises AdapterError that lists what is accepted, with an example each.
    """
    primals, constants = primals or {}, constants or {}
    if dtype is None and any(str(getattr(v, "dtype", "")) == "torch.bfloat16" for v in primals.values()):
        dtype = "bfloat16"  # which NumPy lacks: the arrays of the case hold these numbers as float32
    adapter = subject
    if any(b.__module__ == "torch.autograd.function" and b.__name__ == "Function" for b in type(subject).__mro__):
        name = type(subject).__name__
        raise UsageError(f"give the class itself, gv.verify({name}, primals): torch makes an instance for each call")
    if isinstance(subject, type) or not callable(getattr(subject, "vjp", None)) or not hasattr(subject, "name"):
        kinds = [e.item for e in registry.adapter.entries() if hasattr(e.item, "accepts")]
        tensors = any(is_tensor(v) for v in primals.values())
        torch_first = device is not None or tensors
        kinds.sort(key=lambda kind: (torch_first and kind.framework != "torch", -kind.priority))
        if said := order_of(subject):
            raise UsageError(said)
        said = advice(subject) if isinstance(subject, (list, tuple)) else ""  # layers may be callable, as functions are
        chosen = None if said else next((kind for kind in kinds if kind.accepts(subject)), None)
        if chosen is None:
            if said := said or advice(subject):
                raise AdapterError(f"cannot tell how to drive {describe(subject)}: {said}")
            lines = "\n".join(f"  {kind.accepted}" for kind in sorted(kinds, key=lambda k: -k.priority))
            raise AdapterError(f"cannot tell how to drive {describe(subject)}; accepted are\n{lines}")
        if torch_first and chosen.framework == "torch" and _by_hand(subject, primals, constants):
            chosen = registry.adapter["value_and_grad"].item
        if chosen.framework == "torch":
            options |= {"device": device, "dtype": dtype}
        elif device not in (None, "cpu") and not tensors:
            raise UsageError(f"device={device!r} is for torch; {describe(subject)} is driven as NumPy code")
        try:
            adapter = chosen.adapt(subject, **options)
        except TypeError as error:
            raise UsageError(f"{chosen.__name__} does not take these options: {error}") from error
        if tensors and (hasattr(adapter, "tensors") or hasattr(adapter, "_template")):
            use_tensors(adapter, device, dtype)
    template = getattr(adapter, "_template", None)
    if template is not None and template.tensors is None and holds_tensors(template.obj):
        use_tensors(adapter, device, dtype)
    if hasattr(adapter, "prepare") and (primals or constants):  # a network's data may all be constant
        arrays = {k: tensor_array(v) if is_tensor(v) else np.asarray(v) for k, v in primals.items()}
        adapter.prepare(arrays, {k: private(v) for k, v in constants.items()})
    own: Mapping[str, Any] = getattr(adapter, "parameters", dict)() if primals or constants else {}
    wide = frozenset(k for k, v in {**own, **primals}.items() if _is_complex(v))
    chosen_adapter: Adapter = PairsOfReals(adapter, wide) if wide else adapter
    return chosen_adapter


def _by_hand(function: Any, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> bool:
    """Whether a function of tensors returns (loss, gradients), named or one for every primal, and needs no autograd."""
    if not isinstance(function, (types.FunctionType, types.MethodType)):
        return False
    trial = registry.adapter["value_and_grad"].item.adapt(function)
    use_tensors(trial)
    arrays = {k: tensor_array(v) if is_tensor(v) else np.asarray(v) for k, v in primals.items()}
    try:
        raw = trial.result({k: np.array(v) for k, v in arrays.items()}, constants)
        loss, found = raw[0], raw[1] if len(raw) == 2 else tuple(raw[1:])
        floats = [n for n, v in arrays.items() if v.dtype.kind in "fc"]
        if np.size(tensor_array(loss)) != 1 or not (isinstance(found, Mapping) or len(floats) > 1):
            return False
        gradients = assign(found, arrays)
    except Exception:  # noqa: BLE001  (whatever a forward of another kind raises here, the usual way will say)
        return False
    return all(g is not None and g.shape == arrays[n].shape for n, g in gradients.items() if n in floats)


def _is_complex(value: Any) -> bool:
    return bool(value.is_complex()) if is_tensor(value) else np.iscomplexobj(value)
