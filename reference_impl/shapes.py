"""What every op does to its arguments and gradients, so that the ops themselves read like the text.

Bad input raises ``ValueError``; the message names the argument, says what it is and what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
ArrayLike: TypeAlias = npt.ArrayLike
#: upstream -> one gradient per positional argument of the op, in order; ``None`` for labels and indices
Pullback: TypeAlias = Callable[[ArrayLike], tuple[Any, ...]]
#: the type of every op of one primal
Function: TypeAlias = Callable[..., tuple[Array, Pullback]]


def bad(name: str, array: Array, expected: str) -> ValueError:
    """The error for an array of the wrong shape: ``W: shape (3, 4), expected (..., n_out, 5)``."""
    return ValueError(f"{name}: shape {array.shape}, expected {expected}")


def real(name: str, value: ArrayLike, least: int = 0, expected: str = "") -> Array:
    """``value`` as an array of real numbers: floats keep their dtype, integers become float64.

    Raises ValueError where it is not numeric, is complex, or has fewer than ``least`` axes.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:  # a ragged list
        raise ValueError(f"{name}: not an array ({error}), expected {expected or 'real numbers'}") from None
    if array.dtype.kind in "biu":
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        raise ValueError(f"{name}: shape {array.shape}, dtype {array.dtype}, expected real numbers")
    if array.ndim < least:
        raise bad(name, array, expected)
    return array


def integers(name: str, value: ArrayLike, below: int) -> Array:
    """``value`` as an array of integers in ``[0, below)``; raises ValueError naming the first one outside."""
    array = np.asarray(value)
    if array.size == 0 and array.dtype.kind == "f":  # np.asarray([]) is a float array
        array = array.astype(np.intp)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: shape {array.shape}, dtype {array.dtype}, expected integers in [0, {below})")
    outside = (array < 0) | (array >= below)
    if outside.any():
        raise ValueError(f"{name}: shape {array.shape}, holds {array[outside][0]}, expected integers in [0, {below})")
    return array


def cotangent(upstream: ArrayLike, out: Array) -> Array:
    """The upstream gradient in the dtype of ``out``; raises ValueError unless it has the shape of ``out``."""
    u = np.asarray(upstream, dtype=out.dtype)
    if u.shape != out.shape:
        raise bad("upstream", u, f"{out.shape}, the shape of the op's output")
    return u


def fit(gradient: Array, primal: Array) -> Array:
    """``gradient`` summed over the axes along which ``primal`` was broadcast, in the dtype of ``primal``.

    A copy used in several places receives the sum of their gradients (Derivation, section 'Derivative of a Sum').
    """
    extra = gradient.ndim - primal.ndim
    stretched = tuple(extra + k for k, n in enumerate(primal.shape) if n == 1 and gradient.shape[extra + k] != 1)
    if extra or stretched:
        gradient = gradient.sum(axis=(*range(extra), *stretched)).reshape(primal.shape)
    return np.asarray(gradient, dtype=primal.dtype)


def leading(**parts: tuple[Array, int]) -> tuple[int, ...]:
    """The common leading axes of ``name=(array, number of its own axes)``; raises ValueError where they clash."""
    shape: tuple[int, ...] = ()
    for name, (array, own) in parts.items():
        stack = array.shape[: array.ndim - own]
        try:
            shape = np.broadcast_shapes(shape, stack)
        except ValueError:
            raise bad(name, array, f"leading axes that broadcast with {shape}, those of the arguments before") from None
    return shape


def pick(kind: str, name: object, table: Iterable[str]) -> str:
    """``name`` if the table has it; else ValueError with the nearest name and all known ones."""
    known = sorted(table)
    if name in known:
        return str(name)
    close = get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{kind}: {name!r}, expected one of {', '.join(known)}{hint}")
