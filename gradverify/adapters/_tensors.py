"""Hand-written torch code that uses no autograd: it is handed tensors where other code is handed arrays."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradverify.adapters import _torch as between
from gradverify.adapters._arrays import is_tensor
from gradverify.types import Out


class Tensors:
    """Arrays to tensors that share their memory, on one device and in one dtype where these are given."""

    def __init__(self, device: Any = None, dtype: Any = None) -> None:
        self._torch = between.torch_for("torch tensors as primals")
        self.device, self._dtype = device, between.dtype_named(self._torch, dtype)
        self.dtype = between.numpy_less(self._dtype)

    def primals(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Every array as a tensor; tensors (of an oracle) as they are."""
        return {k: v if is_tensor(v) else self._of(v) for k, v in arrays.items()}

    def constants(self, constants: Mapping[str, Any], primals: Mapping[str, Any]) -> dict[str, Any]:
        """Arrays and tensors among the constants as private tensors, floating ones in the dtype of the primals."""
        like = next((t for t in primals.values() if is_tensor(t) and t.is_floating_point()), None)
        dtype, device = (like.dtype, like.device) if like is not None else (self._dtype, self.device)
        return {k: between.constant(self._torch, v, dtype, device) for k, v in constants.items()}

    def upstream(self, upstream: Out, native: Any) -> Any:
        """In the dtype and on the device of the output that it belongs to."""
        parts = dict(native) if isinstance(native, Mapping) else {"": native}
        if not all(is_tensor(t) for t in parts.values()):
            return upstream
        tensors = between.upstream_tensors(self._torch, upstream, {str(k): t for k, t in parts.items()})
        return dict(zip(parts, tensors, strict=True)) if isinstance(native, Mapping) else tensors[0]

    def _of(self, array: Any) -> Any:
        return between.to_tensor(self._torch, array, self._dtype, self.device)


def use_tensors(adapter: Any, device: Any = None, dtype: Any = None) -> None:
    """From now on an adapter that has ``tensors``, or whose template has, hands out tensors and is one of torch."""
    found = Tensors(device, dtype)
    getattr(adapter, "_template", adapter).tensors = found
    adapter.framework, adapter.device, adapter.dtype = "torch", device, found.dtype


def with_tensors(
    adapter: Any,
    attempt: Callable[[Mapping[str, Any]], Any],
    primals: Mapping[str, Any],
    constants: Mapping[str, Any],
) -> Any:
    """``attempt`` with the values as they are, or as tensors; code that refuses arrays is tried with tensors once.

    Where that works, the adapter hands out tensors for good.
    """
    tensors: Tensors | None = adapter.tensors
    if tensors is not None:
        given = tensors.primals(primals)
        return attempt({**tensors.constants(constants, given), **given})
    try:
        return attempt({**constants, **primals})
    except (TypeError, AttributeError) as error:
        arrays = all(type(v) is np.ndarray for v in primals.values())
        if not arrays or "ndarray" not in str(error) or importlib.util.find_spec("torch") is None:
            raise
        found = Tensors()
        given = found.primals({k: np.array(v) for k, v in primals.items()})
        try:
            raw = attempt({**found.constants(constants, given), **given})
        except Exception:  # noqa: BLE001  (it was no torch code: what it said of arrays is what matters)
            raise error from None
        if not any(is_tensor(v) for v in (raw if isinstance(raw, (tuple, list)) else [raw])):
            raise
        use_tensors(adapter)
        return raw
