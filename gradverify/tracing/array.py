"""The thin array: what the user's forward receives instead of a float ndarray.

It is no subclass of ndarray: C code would read the bytes of a subclass without asking, and a value would leave the
trace in silence. As a stranger with ``__array_ufunc__`` and ``__array_function__`` it is asked every time, and where
NumPy must have plain memory it calls ``__array__``, which refuses. For ``isinstance(x, np.ndarray)`` (and
``isinstance(loss, float)`` of a full reduction) in user code, ``__class__`` claims to be what NumPy would have given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from gradverify.tracing.escape import user_line
from gradverify.tracing.lazy import Tensor, torch
from gradverify.tracing.storage import Storage, gather, positions
from gradverify.tracing.tape import tape, tracing
from gradverify.tracing.whatif.sites import mark
from gradverify.types import Array


class TracedArray(NDArrayOperatorsMixin):
    """A float array whose operations are recorded. Made by ``wrap``; integers and bools stay plain NumPy."""

    __slots__ = ("_dtype", "_scalar", "_shadow", "_tensor", "_version", "storage")
    __array_priority__ = 1000.0
    __hash__ = None  # type: ignore[assignment]  # like ndarray

    def __init__(self, storage: Storage, shadow: Array | None, tensor: Tensor, dtype: Any, scalar: bool) -> None:
        self.storage = storage
        self._shadow = shadow
        self._tensor = tensor
        self._version = storage.version
        self._dtype = dtype
        self._scalar = scalar

    @property
    def __class__(self) -> Any:
        """What NumPy would have given: code under test asks with isinstance."""
        return self._dtype.type if self._scalar else np.ndarray

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise TypeError("a traced array stays one")

    # how the tracer sees it

    @property
    def t(self) -> Tensor:
        """The current value as a tensor."""
        if self._tensor is None or self._version != self.storage.version:
            self._tensor = self.storage.read(self.shadow)
            self._version = self.storage.version
        return self._tensor

    @property
    def shadow(self) -> Array:
        """Bytes never read, with the address, shape and strides that this array would have."""
        if self._shadow is None:
            self._shadow = self.storage.root.reshape(self._tensor.shape)
        return self._shadow

    @property
    def tracked(self) -> bool:
        """May it depend on a primal?"""
        return self.storage.tracked

    @property
    def value(self) -> Array:
        """The current value as plain NumPy, a private copy. For the tracer's own use: it leaves the graph."""
        return np.array(self.t.detach().numpy())

    def positions(self) -> Array:
        """Which element of the storage each entry is."""
        return positions(self.shadow, self.storage.root)

    def assign(self, value: Tensor) -> None:
        """Replace every entry (``x[...] = value``), through all views."""
        if not self.shadow.flags.writeable:
            raise ValueError("assignment destination is read-only")
        if self.shadow.size == self.storage.size and self.shadow.flags.c_contiguous:
            self.storage.replace(value.expand(self.shape))
        else:
            self.storage.write(self.positions(), value.expand(self.shape))

    # what NumPy asks

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from gradverify.tracing.dispatch import call_ufunc

        return call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from gradverify.tracing.dispatch import call_function

        return call_function(function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        """Plain memory: only for values that do not depend on the primals, and for all once the trace has ended."""
        if self.tracked and tracing() is not None:
            leave("a traced value became a plain array (assigned into one, or handed to code that is not NumPy's)")
        return self.value.astype(self.dtype if dtype is None else dtype)

    # what Python asks

    def __float__(self) -> float:
        if self.ndim and self.size != 1:
            raise TypeError("only 0-dimensional arrays can be converted to Python scalars")
        value = float(self.t.detach())
        # deferred: right if the forward returns this very object and computes nothing after
        if self.tracked and tracing() is not None:
            here = tape()
            here.floats.append((value, self, here.clock, user_line()))
        return value

    def __int__(self) -> int:
        from gradverify.tracing.elementwise import jumps

        jumps("int()", self.t, self.t.detach() == self.t.detach().round())
        return int(self.t.detach())

    def __bool__(self) -> bool:
        return bool(np.asarray(self != 0))

    def __complex__(self) -> complex:
        return complex(float(self))

    def __index__(self) -> int:
        raise TypeError("only integer scalar arrays can be converted to a scalar index")

    def __round__(self, ndigits: int | None = None) -> Any:
        return int(np.rint(self)) if ndigits is None else np.round(self, ndigits)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __contains__(self, item: Any) -> bool:
        return bool(np.any(self == item))

    def __getitem__(self, key: Any) -> Any:
        from gradverify.tracing.indexing import getitem

        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        from gradverify.tracing.indexing import setitem

        setitem(self, key, value)

    def __copy__(self) -> Any:
        return wrap(self.t, self.dtype)

    def __deepcopy__(self, memo: Any) -> Any:
        return wrap(self.t, self.dtype)

    def __reduce__(self) -> Any:
        return leave("pickling of a traced value")

    def __repr__(self) -> str:
        return repr(self.value)

    def __str__(self) -> str:
        return str(self.value[()])

    def __format__(self, spec: str) -> str:
        return format(self.value[()], spec)

    # attributes

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._tensor.shape) if self._shadow is None else self._shadow.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        self._shadow = self.shadow.reshape(shape)
        self._tensor = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=int))

    @property
    def dtype(self) -> Any:
        """The dtype that the forward believes it has; the arithmetic is in the tape's."""
        return self._dtype

    @property
    def itemsize(self) -> int:
        return int(self._dtype.itemsize)

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(s * self.itemsize for s in self.shadow.strides)

    @property
    def flags(self) -> Any:
        return self.shadow.flags

    @property
    def base(self) -> None:
        return None

    @property
    def T(self) -> Any:
        return view(self, np.transpose)

    @property
    def mT(self) -> Any:
        return view(self, lambda s: s.swapaxes(-1, -2))

    @property
    def real(self) -> Any:
        return self

    @property
    def imag(self) -> Any:
        return np.zeros(self.shape)

    @property
    def flat(self) -> Any:
        from gradverify.tracing.indexing import Flat

        return Flat(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        self.flat[:] = value

    def item(self, *index: Any) -> Any:
        """One entry: a traced scalar, as long as it depends on the primals."""
        if not self.tracked or tracing() is None:
            return self.value.item(*index)
        if not index and self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        at = index[0] if len(index) == 1 and isinstance(index[0], tuple) else index
        return self[tuple(at)] if len(at) == self.ndim else np.ravel(self)[at[0] if at else 0]

    def __getattr__(self, name: str) -> Any:
        """Attributes of ndarray that this array has not: each is a way out of the trace."""
        if not name.startswith("_") and hasattr(np.ndarray, name):
            if self.tracked and tracing() is not None:
                leave(f".{name} of a traced array")
            return getattr(self.value, name)
        raise AttributeError(f"'numpy.ndarray' object has no attribute {name!r}")


def leave(text: str) -> Any:
    """Raise Escaped for ``text``."""
    return tape().escape(text)


def is_traced(x: Any) -> bool:
    """Is it a TracedArray? (``isinstance`` is answered by ``type`` first, whatever ``__class__`` says.)"""
    return issubclass(type(x), TracedArray)


def wrap(t: Tensor, dtype: Any = None, *, scalar: bool | None = None) -> TracedArray:
    """A new array that owns ``t``. 0-d results are scalars, as in NumPy, unless told otherwise."""
    if t.requires_grad:
        here = tracing()
        if here is not None:
            here.clock += 1
            if here.marks is not None:
                mark(t)
    return TracedArray(
        Storage(t), None, t, np.dtype(float if dtype is None else dtype), t.ndim == 0 if scalar is None else scalar
    )


def dtype_of(*operands: Any) -> Any:
    """The float dtype that NumPy would give to a result of these operands."""
    dtypes = [x.dtype for x in operands if is_traced(x)]
    if all(d == np.float64 for d in dtypes):
        return np.dtype(float)
    others = [x.dtype if isinstance(x, (np.ndarray, np.generic)) else x for x in operands if not is_traced(x)]
    found = np.result_type(*dtypes, *(x for x in others if isinstance(x, (np.dtype, int, float))))
    return found if found.kind == "f" else np.dtype(float)


def tensor(x: Any) -> Tensor:
    """Anything that NumPy would take as a float array, as a tensor. Plain memory is copied: its owner may change it."""
    if is_traced(x):
        return x.t
    here = tracing()
    dtype = torch.float64 if here is None else here.dtype
    if isinstance(x, (bool, int, float)):
        return torch.tensor(float(x), dtype=dtype)
    if isinstance(x, (list, tuple)) and holds_traced(x):
        return stacked(x)
    plain = np.asarray(x)
    if plain.dtype.kind in "fiub":
        return torch.from_numpy(np.array(plain, dtype=float)).to(dtype)
    if plain.dtype.kind == "O" and holds_traced(plain.tolist()):
        return leave("an object array of traced values")
    return leave(f"arithmetic of a traced array with {plain.dtype.name} values")


def stacked(items: Any) -> Tensor:
    """A nested list with traced entries as one tensor."""
    parts = [tensor(x) for x in items]
    if len({tuple(p.shape) for p in parts}) > 1:
        raise ValueError("setting an array element with a sequence: the entries have different shapes")
    return torch.stack(parts)


def holds_traced(x: Any) -> bool:
    """Is there a traced array in this nest of lists, tuples and dicts?"""
    if isinstance(x, (list, tuple)):
        return any(holds_traced(e) for e in x)
    if isinstance(x, dict):
        return any(holds_traced(e) for e in x.values())
    return is_traced(x)


def holds_tracked(x: Any) -> bool:
    """Is there one that depends on a primal?"""
    if isinstance(x, (list, tuple)):
        return any(holds_tracked(e) for e in x)
    if isinstance(x, dict):
        return any(holds_tracked(e) for e in x.values())
    return is_traced(x) and x.tracked


def each(function: Callable[[Any], Any], x: Any) -> Any:
    """``x`` with every traced array in it, however nested, replaced by ``function`` of it."""
    if is_traced(x):
        return function(x)
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(each(function, e) for e in x))
    if type(x) in (list, tuple):
        return type(x)(each(function, e) for e in x)
    if type(x) is dict:
        return {k: each(function, e) for k, e in x.items()}
    return x


def each_plain(function: Callable[[Any], Any], x: Any) -> Any:
    """``x`` with every plain float array in it, in lists, tuples and dicts, replaced by ``function`` of it."""
    if type(x) is np.ndarray:
        return function(x) if x.dtype.kind == "f" else x
    if type(x) in (list, tuple):
        return type(x)(each_plain(function, e) for e in x)
    return {k: each_plain(function, e) for k, e in x.items()} if type(x) is dict else x


def array(x: Any) -> Any:
    """``x`` as a TracedArray; a traced one is returned as it is. (Any: NumPy's stubs know no such arrays.)"""
    return x if is_traced(x) else wrap(tensor(x), scalar=False)


def view(a: TracedArray, move: Callable[[Array], Any]) -> Any:
    """What the NumPy function ``move``, which only moves data, does to ``a``: views where NumPy makes views."""
    shown = move(a.shadow)
    pieces = list(shown) if isinstance(shown, (list, tuple)) else [shown]
    root = a.storage.root
    if all(isinstance(p, np.ndarray) and np.may_share_memory(p, root) for p in pieces):
        views = [TracedArray(a.storage, p, None, a.dtype, scalar=False) for p in pieces]
    else:
        moved = move(a.positions())
        flat = a.storage.flat()
        pieces = list(moved) if isinstance(moved, (list, tuple)) else [moved]
        views = [wrap(gather(flat, p), a.dtype) for p in pieces]
    if isinstance(shown, (list, tuple)):
        return type(shown)(views)
    return views[0]
