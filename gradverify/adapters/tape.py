"""A small autograd engine: tensors that record what is done to them, ``t.backward()``, ``t.grad``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.adapters._arrays import as_array, as_out, given, is_tensor
from gradverify.adapters._bind import arguments, run, signature, slots, who_is
from gradverify.adapters._seeds import Randomness
from gradverify.errors import AdapterError, UsageError
from gradverify.types import Array, Case, Gradients, Out, Pullback, differentiable


@registry.adapter("tape")
class Tape:
    """A function on the tensors of a small autograd engine: wrap, run, backward, read the gradients.

    fn        fn(**primals, **constants) -> tensor; primals arrive wrapped
    wrap      makes a tensor from an array: the class itself, or lambda a: Tensor(a, requires_grad=True)
    data, grad, backward   the names on a tensor; without ``data`` its ``numpy()`` or ``to_numpy()`` is asked
    scalars   the engine has scalars only: primals arrive as object arrays of wrapped numbers
    seed      (out, wrapped upstream) -> the scalar to call backward on; default: the sum of out * upstream
    Raises UsageError when ``fn`` or ``wrap`` is not callable.
    """

    framework = "tape"
    priority = 0
    accepted = "a function on tensors of an autograd engine: gv.verify(gv.tape(f, wrap=Tensor), primals)"
    traits = frozenset({"reshaped-upstream"})

    def __init__(
        self,
        fn: Callable[..., Any],
        wrap: Callable[[Any], Any],
        *,
        data: str = "data",
        grad: str = "grad",
        backward: str = "backward",
        scalars: bool = False,
        seed: Callable[[Any, Any], Any] | None = None,
        name: str = "",
    ) -> None:
        if not callable(fn) or not callable(wrap):
            raise UsageError(f"tape needs a function and what wraps an array, not {fn!r} and {wrap!r}")
        self._fn, self._sig, self._make = fn, signature(fn), wrap
        self._data, self._grad, self._back = data, grad, backward
        self._scalars, self._seed = scalars, seed or _weighted
        self.name = name or who_is(fn, "tape")

    @classmethod
    def accepts(cls, subject: object) -> bool:  # noqa: ARG003 - the signature that every adapter has
        """Never by itself: how to wrap an array has to be said."""
        return False

    def evaluate(self, case: Case) -> Out:
        """The forward alone."""
        with Randomness().forward():
            return self._values(run(self.name, self._forward, self._leaves(case), case))

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """Forward on fresh leaves; every pullback runs on leaves of its own, since engines add into ``.grad``."""
        with Randomness().forward():
            tensors = self._leaves(case)
            raw = run(self.name, self._forward, tensors, case)
        first: list[tuple[dict[str, Any], Any]] = [(tensors, raw)]

        def pullback(upstream: Out) -> Gradients:
            with Randomness().forward():
                if first:
                    leaves, out = first.pop()
                else:
                    leaves = self._leaves(case)
                    out = run(self.name, self._forward, leaves, case)
                total = run(f"the sum of {self.name}", self._total, out, as_array(upstream, "the upstream"))
                run(f"{self.name}.{self._back}", getattr(total, self._back))
            return {n: self._read(n, leaves[n]) if differentiable(v) else None for n, v in case.primals.items()}

        return self._values(raw), pullback

    def _forward(self, tensors: Mapping[str, Any], case: Case) -> Any:
        places = slots(self._sig, list(tensors), list(case.constants), who=self.name)
        args, kwargs = arguments(self._sig, places, {**case.constants, **tensors})
        return self._fn(*args, **kwargs)

    def _leaves(self, case: Case) -> dict[str, Any]:
        leaves: dict[str, Any] = run("wrap", self._wrapped, given(case))
        return leaves

    def _wrapped(self, primals: Mapping[str, Array]) -> dict[str, Any]:
        return {n: self._wrap(v) if differentiable(v) else v for n, v in primals.items()}

    def _wrap(self, array: Array) -> Any:
        if not self._scalars:
            return self._make(array)
        cells = np.empty(array.shape, dtype=object)
        for i in np.ndindex(array.shape):
            cells[i] = self._make(float(array[i]))
        return cells if array.shape else cells[()]

    def _values(self, raw: Any) -> Out:
        if self._scalars:
            cells = np.asarray(raw, dtype=object)
            return np.array([float(getattr(c, self._data)) for c in cells.ravel()]).reshape(cells.shape)
        value = _plain(raw, self._data)
        return as_out(value if isinstance(value, np.ndarray) or is_tensor(value) else np.asarray(value), self.name)

    def _total(self, raw: Any, upstream: Array) -> Any:
        if not self._scalars:
            return self._seed(raw, self._make(upstream))
        cells = np.asarray(raw, dtype=object)
        terms = [c * float(u) for c, u in zip(cells.ravel(), upstream.ravel(), strict=True)]
        return sum(terms[1:], terms[0])

    def _read(self, name: str, tensor: Any) -> Array | None:
        cells = np.asarray(tensor, dtype=object) if self._scalars else None
        if cells is not None:
            return np.array([float(getattr(c, self._grad)) for c in cells.ravel()]).reshape(cells.shape)
        if not hasattr(tensor, self._grad):
            raise AdapterError(
                f"the tensor of {name!r} has no attribute {self._grad!r} after {self._back}; say grad='...'"
            )
        gradient = _plain(getattr(tensor, self._grad), self._data)
        return None if gradient is None else as_array(gradient, f"the gradient of {name!r}")


def _plain(tensor: Any, data: str) -> Any:
    """The numbers of a tensor: itself, its attribute ``data``, or what its ``numpy()`` or ``to_numpy()`` returns."""
    if tensor is None or isinstance(tensor, np.ndarray):
        return tensor
    value = getattr(tensor, data, tensor)
    if not isinstance(value, (np.ndarray, float, int, np.generic)) and not is_tensor(value):
        for thing, way in ((thing, way) for thing in (tensor, value) for way in ("numpy", "to_numpy")):
            if callable(getattr(thing, way, None)):
                return np.asarray(getattr(thing, way)())
    return value


def _weighted(out: Any, upstream: Any) -> Any:
    """<out, upstream> in the engine's own operations; a scalar needs no sum."""
    product = out * upstream
    if hasattr(product, "sum"):
        return product.sum()
    if np.size(getattr(product, "data", product)) == 1:
        return product
    raise AdapterError(
        f"{type(product).__name__} has no sum: for an engine of scalars say gv.tape(f, wrap=..., scalars=True), else "
        "seed=lambda out, upstream: the sum of out * upstream"
    )
