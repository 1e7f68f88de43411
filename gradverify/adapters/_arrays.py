"""What user code returns, as NumPy arrays: the same object where it is one, never a copy of its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradverify.errors import AdapterError
from gradverify.types import Array, Arrays, Case, Out

NUMERIC = "biufc"


def is_tensor(value: object) -> bool:
    """Whether ``value`` is a torch tensor, asked without importing torch."""
    return any(c.__name__ == "Tensor" and c.__module__.split(".")[0] == "torch" for c in type(value).__mro__)


def is_module(value: object) -> bool:
    """Whether ``value`` is a torch.nn.Module, asked without importing torch."""
    return any(c.__name__ == "Module" and c.__module__ == "torch.nn.modules.module" for c in type(value).__mro__)


def describe(value: object) -> str:
    """A value in a few words, for messages."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if value is None or isinstance(value, (str, bool, int, float)):
        return repr(value)
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def tensor_array(tensor: Any) -> Array:
    """A torch tensor as an array on the CPU; bfloat16 crosses as float32, which holds it exactly, sparse as dense."""
    tensor = tensor.detach()
    if str(tensor.layout) != "torch.strided":
        tensor = tensor.to_dense()
    tensor = tensor.resolve_conj().resolve_neg()
    if str(tensor.dtype) == "torch.bfloat16":
        tensor = tensor.float()
    array: Array = tensor.cpu().numpy()
    return array


def as_array(value: Any, what: str) -> Array:
    """``value`` as an array; an ndarray is passed through as the very object. Raises AdapterError for anything else."""
    if is_tensor(value):
        return tensor_array(value)
    if not isinstance(value, np.ndarray):
        if value is None or isinstance(value, (str, bytes, Mapping, set)) or callable(value):
            raise AdapterError(f"{what} is {describe(value)}, not an array")
        try:
            value = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise AdapterError(f"{what} is {describe(value)}, which NumPy cannot make an array of: {error}") from error
    if value.dtype.kind not in NUMERIC:
        raise AdapterError(f"{what} has dtype {value.dtype}; expected an array of numbers such as float64")
    array: Array = value
    return array


def as_out(value: Any, who: str = "forward") -> Out:
    """The output of a forward: an array, or arrays by name. Raises AdapterError for None and non-arrays."""
    if value is None:
        raise AdapterError(f"{who} returned None; it must return its output (is a `return` missing?)")
    if isinstance(value, Mapping):
        if not value:
            raise AdapterError(f"{who} returned an empty mapping; expected arrays by name")
        return {str(k): as_array(v, f"output {k!r} of {who}") for k, v in value.items()}
    return as_array(value, f"the output of {who}")


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of anything that has one or is a number or list."""
    shape = getattr(value, "shape", None)
    return tuple(shape) if shape is not None else np.shape(value)


def given(case: Case) -> dict[str, Array]:
    """Private writable copies of the primals. Raises AdapterError when there are none or one is not numeric."""
    if not case.primals:
        raise AdapterError("there are no primals: give at least one array to differentiate, e.g. {'x': x}")
    check_primals(case.primals)
    return case.thawed()


def check_primals(primals: Arrays) -> None:
    """Raise AdapterError for a primal of object (or another non-numeric) dtype."""
    for name, value in primals.items():
        if value.dtype.kind not in NUMERIC:
            raise AdapterError(f"primal {name!r} has dtype {value.dtype}; expected an array of numbers such as float64")
