"""An op of ``reference_impl``, by name. The only importer of reference_impl inside adapters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradverify import registry
from gradverify.adapters._arrays import as_out, given
from gradverify.adapters._bind import hint, run
from gradverify.adapters._gradients import as_gradient
from gradverify.adapters._seeds import Randomness
from gradverify.errors import AdapterError, Unsupported, UsageError
from gradverify.types import Arrays, Case, Gradients, Out, Pullback

ANY_DEPTH = ("network", "deep_network")
LAYERS = ("W1", "b1", "W2", "b2", "W3", "b3")


@registry.adapter("reference")
class Reference:
    """An op of reference_impl by name, for example reference("affine"); attrs are fixed constants of the op.

    Raises UsageError for an unknown op (naming the nearest), AdapterError for missing or unknown arguments.
    """

    framework = "numpy"
    priority = 0
    accepted = 'an op of reference_impl: gv.verify(gv.reference("affine"), primals)'
    traits = frozenset[str]()

    def __init__(self, op: str, /, **attrs: Any) -> None:
        from reference_impl.ops import OPS

        if op not in OPS:
            raise UsageError(f"reference_impl has no op {op!r}{hint(op, list(OPS))} Known: {', '.join(sorted(OPS))}")
        self._op, self._attrs = OPS[op], attrs
        self.name = f"reference {op}"
        if unknown := [k for k in attrs if k not in (*self._op.constants, *self._op.primals)]:
            raise UsageError(f"{op} has no argument {unknown[0]!r}{hint(unknown[0], self._op.constants)}")

    @classmethod
    def accepts(cls, subject: object) -> bool:  # noqa: ARG003 - the signature that every adapter has
        """Never by itself: a name could mean anything; say gv.reference(name)."""
        return False

    def call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        """The forward on foreign arrays, as they are."""
        args, kwargs = self._arguments(primals, constants)
        return self.pick(self._op.fn(*args, **kwargs))

    def pick(self, raw: Any) -> Any:
        """The output within (out, pullback)."""
        return raw[0]

    def evaluate(self, case: Case) -> Out:
        """The forward alone."""
        with Randomness().forward():
            return as_out(run(self.name, self.call, given(case), case.constants), self.name)

    def evaluate_many(self, case: Case, stacked: Arrays) -> Out:
        """The forward at primals with one more leading axis (all of the same length), in one call.

        Raises Unsupported where the op does not broadcast over a leading axis.
        """
        values = {**case.primals, **stacked}
        names = self._primals(values)
        if (
            any(n not in values for n in names)
            or len(names) != len(self._op.primals)
            or not self._op.stacks(*(values[n].ndim for n in names))
        ):
            raise Unsupported(f"{self.name} does not broadcast over a leading axis at these shapes")
        args, kwargs = self._arguments(values, case.constants)
        out = np.asarray(self._op.fn(*args, **kwargs)[0])
        count = next(iter(stacked.values())).shape[0] if stacked else 0
        if out.shape[:1] != (count,):
            raise Unsupported(f"{self.name} did not keep the leading axis of its stacked primals")
        return out

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """The op and its own pullback."""
        primals = given(case)
        args, kwargs = self._arguments(primals, case.constants)
        names = self._primals({**case.constants, **primals})
        randomness = Randomness()
        with randomness.forward():
            raw, pull = run(self.name, self._op.fn, *args, **kwargs)

        def pullback(upstream: Out) -> Gradients:
            with randomness.pullback():
                found = dict(zip(names, run(self.name, pull, upstream), strict=True))
            return {n: as_gradient(n, found.get(n), self.name) for n in case.primals}

        return as_out(raw, self.name), pullback

    def _primals(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the positional arguments. A network of any depth: as many layers W, b as ``values`` holds."""
        fixed = tuple(n for n in self._op.primals if n not in LAYERS)
        if self._op.name not in ANY_DEPTH or "W1" not in values:
            return self._op.primals
        depth = next(k for k in itertools.count(1) if f"W{k + 1}" not in values and f"b{k + 1}" not in values)
        return (*fixed, *(f"{n}{k}" for k in range(1, depth + 1) for n in "Wb"))

    def _arguments(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        values: dict[str, Any] = {**self._attrs, **constants, **primals}
        names = self._primals(values)
        for n in values:
            if n not in (*names, *self._op.constants):
                known = (*names, *self._op.constants)
                raise AdapterError(f"{self.name} takes {', '.join(known)} but was given {n!r}{hint(n, known)}")
        if missing := [n for n in names if n not in values]:
            raise AdapterError(f"{self.name} takes {', '.join(names)} but {', '.join(missing)} is missing")
        return [values[n] for n in names], {n: v for n, v in values.items() if n in self._op.constants}
