"""What a caller hands to ``verify``, as NumPy arrays at the precision asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradverify.errors import UsageError
from gradverify.types import Adapter, Array, Out, differentiable

PRECISIONS = ("float64", "float32", "float16", "bfloat16")


def arrays_of(primals: Mapping[str, Any], dtype: str | None) -> dict[str, Array]:
    """Name -> array; torch tensors are accepted, complex arrays become pairs of reals (see ``adapt``).

    Raises UsageError for what is not an array of numbers.
    """
    if not isinstance(primals, Mapping):
        raise UsageError(f"primals is a {type(primals).__name__}; give a mapping of names to arrays, e.g. {{'x': x}}")
    found = {str(k): _array(f"primal {k!r}", v) for k, v in primals.items()}
    return {k: _real(v, dtype) for k, v in found.items()}


def plain_constants(constants: Mapping[str, Any], dtype: str | None, primals: Mapping[str, Array]) -> dict[str, Any]:
    """Constants as they are; floating arrays follow an explicit ``dtype``. Raises UsageError for a name used twice."""
    if not isinstance(constants, Mapping):
        raise UsageError(f"constants is a {type(constants).__name__}; give a mapping of names, e.g. {{'y': y}}")
    twice = sorted(set(constants) & set(primals))
    if twice:
        raise UsageError(f"{', '.join(twice)} is given both as a primal and as a constant; keep one")
    if dtype is None:
        return dict(constants)
    return {k: rounded(v, dtype) if isinstance(v, np.ndarray) else v for k, v in constants.items()}


def as_out(upstream: Any, dtype: str | None) -> Out | None:
    """An upstream as an array or arrays by name; complex ones become pairs of reals, as outputs do."""
    if upstream is None:
        return None
    if isinstance(upstream, Mapping):
        return {str(k): _real(_array(f"upstream {k!r}", v), dtype) for k, v in upstream.items()}
    return _real(_array("the upstream", upstream), dtype)


def _real(v: Array, dtype: str | None) -> Array:
    return rounded(paired(v) if v.dtype.kind == "c" else v, dtype)


def rounded(v: Array, dtype: str | None) -> Array:
    """``v`` in ``dtype``; bfloat16 values are held in float32, which has them all."""
    if dtype is None or not differentiable(v) or v.dtype.kind == "c":
        return v
    if dtype not in PRECISIONS:
        raise UsageError(f"dtype={dtype!r}; known: {', '.join(PRECISIONS)}")
    if dtype == "bfloat16":
        return to_bfloat16(v)
    return v.astype(dtype, copy=False)


def to_bfloat16(v: Array) -> Array:
    """Rounded to bfloat16 (nearest, ties to even), as float32."""
    bits = np.ascontiguousarray(v, dtype=np.float32).view(np.uint32).astype(np.uint64)
    kept = ((bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) & np.uint64(0xFFFF0000)).astype(np.uint32)
    result: Array = np.where(np.isfinite(v), kept.view(np.float32).reshape(np.shape(v)), v).astype(np.float32)
    return result


def paired(array: Array) -> Array:
    """A complex array (...) as a real one (..., 2)."""
    return np.stack([array.real, array.imag], axis=-1)


def whole(pair: Array) -> Array:
    """A real array (..., 2) as a complex one (...), the same memory where it is laid out for it."""
    kind = np.result_type(pair.dtype, np.complex64)
    if pair.strides[-1] == pair.itemsize:
        return pair.view(kind)[..., 0]
    return np.asarray(pair[..., 0] + 1j * pair[..., 1], dtype=kind)


def stored(adapter: Adapter, dtype: str | None) -> Adapter:
    """The adapter; one without a storage dtype of its own is told the one asked for where NumPy has none."""
    if dtype == "bfloat16" and getattr(adapter, "dtype", None) is None:
        adapter.dtype = "bfloat16"  # type: ignore[attr-defined]  # optional member of the protocol
    return adapter


def _array(what: str, value: Any) -> Array:
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        tensor = value.detach().cpu()
        value = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).resolve_conj().numpy()
    if isinstance(value, Mapping):
        first, name = next(iter(value), "W"), what.split("'")[1] if "'" in what else "params"
        own = f"{{{first!r}: {name}[{first!r}], ...}}"
        raise UsageError(f"{what} is a {type(value).__name__}; give each array a name of its own: {own}")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{what} is a {type(value).__name__} that NumPy cannot make an array of ({error}); "
            "give each array a name of its own"
        ) from error
    if array.dtype.kind not in "fciub":
        raise UsageError(f"{what} has dtype {array.dtype}; expected an array of numbers such as float64")
    return array
