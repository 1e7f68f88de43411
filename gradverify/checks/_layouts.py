"""The same numbers in another memory layout. The gaps hold a number that nobody should read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradverify.checks._tools import count
from gradverify.errors import refusal
from gradverify.types import Array, Measurement

GAP = 1.0e3  #: what lies between the entries of a strided layout; finite, so that reading it is a wrong number


def fortran(array: Array) -> Array | None:
    """Columns first; None where rows first is the same."""
    return np.array(array, order="F") if sum(n > 1 for n in array.shape) > 1 else None


def strided(array: Array) -> Array | None:
    """Every second entry of a larger array along every axis."""
    if array.ndim == 0 or array.size < 2:
        return None
    view = np.full([2 * n for n in array.shape], GAP, dtype=array.dtype)[
        tuple(slice(None, None, 2) for _ in array.shape)
    ]
    view[...] = array
    return view


def negative(array: Array) -> Array | None:
    """A view with negative strides along every axis."""
    if array.ndim == 0 or array.size < 2:
        return None
    view = np.empty_like(array, order="C")[tuple(slice(None, None, -1) for _ in array.shape)]
    view[...] = array
    return view


def zero_d(array: Array) -> Array | None:
    """A 0-d view into a longer array; None unless ``array`` is 0-d."""
    if array.ndim:
        return None
    view = np.full(3, GAP, dtype=array.dtype)[1:2].reshape(())
    view[...] = array
    return view


def readonly(array: Array) -> Array | None:
    """An array that raises when it is written to."""
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[Array], Array | None]] = {
    "in Fortran order": fortran,
    "strided": strided,
    "with negative strides": negative,
    "as a 0-d view": zero_d,
    "read-only": readonly,
}


def refused(error: Exception, what: str, words: str) -> Measurement | None:
    """A note where code refuses a layout by a ``raise`` or ``assert`` of its own; None for any other error.

    what  whose layout: "the upstream";  words  which: "with negative strides"
    """
    said = refusal(error, asserts=True)
    if not said:
        error.add_note(f"(with {what} {words}; contiguous copies of the same numbers work)")
        return None
    note = f"the implementation refuses {what} {words} ({said}): copy before the call"
    return count(f"{what.removeprefix('the ')} {words}", 0, "", facts={"layout": words}, notes=(note,))


def raised(error: Exception, words: str) -> Measurement:
    """A note where a forward raises for primals in a layout: no gradient is asked for there, and none is wrong."""
    note = (
        f"the forward raises for primals {words}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    )
    return count(f"primals {words}", 0, "", facts={"layout": words}, notes=(note,))
