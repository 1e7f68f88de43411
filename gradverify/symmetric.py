"""Functions of symmetric matrices: what their derivative is where only symmetric matrices are meant.

``cholesky``, ``eigh`` and their kin read one triangle, or are meant for symmetric arguments alone. Their gradient is
known up to a part that no symmetric change sees; people return the symmetric one. Entry by entry it is no derivative of
the forward, and right all the same: it is judged as the gradient of the forward at (S + S') / 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from gradverify import runner
from gradverify.errors import AdapterError
from gradverify.types import Adapter, Array, Case, Finding, Gradients, Out, Pullback, Verdict, differentiable, leaves

SAID = (
    "a function of symmetric matrices in {0}: its gradient is judged along symmetric changes of {0}, as of (S + S') / 2"
)
HELD = frozenset(
    {"call", "evaluate_many", "again", "jvp", "prepare", "rounded", "vjp_wrt", "raw_vjp"}
)  #: given primals
ROUNDINGS = 64.0  #: that the two halves of a symmetric gradient may be apart


def reconsidered(plan: runner.Plan, findings: list[Finding]) -> list[Finding]:
    """The findings; where a gradient failed that may be of symmetric matrices, those of the forward at (S + S') / 2.

    These are taken only if nothing is wrong with these gradients then.
    """
    names = _candidates(plan, findings)
    if not names or plan.truth is not None:
        return findings
    around: Adapter = OnSymmetric(plan.adapter, frozenset(names))
    try:
        again = list(runner.run(replace(plan, adapter=around)))
    except AdapterError:
        return findings
    return findings if names & _failed(again) else again


def _failed(findings: list[Finding]) -> set[str]:
    wrong = (f for f in findings if f.check == runner.VALUE and f.verdict is not Verdict.PASS)
    return {f.facts["primal"] for f in wrong if "primal" in f.facts}


def _candidates(plan: runner.Plan, findings: list[Finding]) -> set[str]:
    """Failed primals that are symmetric, with a symmetric gradient or of which forward reads one triangle."""
    here = [f for f in findings if f.case == plan.case.name]  # wrong beside alone: a transpose that S hides
    failed = {n for n in _failed(here) if n in plan.case.primals and symmetric(plan.case.primals[n])}
    if not failed:
        return set()
    try:
        out, pullback = plan.adapter.vjp(plan.case)
        drawn = np.random.default_rng(plan.seed).standard_normal
        parts = {k: np.asarray(drawn(np.shape(v)), np.asarray(v).dtype) for k, v in leaves(out).items()}
        got = pullback(parts if isinstance(out, Mapping) else parts[""])
        return {n for n in failed if _symmetric_gradient(got.get(n), plan.case, n) or _one_triangle(plan, n, out)}
    except AdapterError:
        return set()


def symmetric(value: Array) -> bool:
    """Whether the last two axes of an array are those of symmetric matrices that are not all diagonal."""
    if not differentiable(value) or value.dtype.kind == "c" or value.ndim < 2 or value.shape[-1] != value.shape[-2]:
        return False
    turned = np.swapaxes(value, -1, -2)
    return value.shape[-1] > 1 and np.array_equal(value, turned) and bool(np.any(np.triu(value, 1)))


def _symmetric_gradient(gradient: Any, case: Case, name: str) -> bool:
    """Whether a gradient is symmetric to rounding, though its upstream is random."""
    if gradient is None or np.shape(gradient) != case.primals[name].shape:
        return False
    g = np.asarray(gradient)
    apart = np.max(np.abs(g - np.swapaxes(g, -1, -2)), initial=0.0)
    eps = float(np.finfo(g.dtype).eps) if g.dtype.kind == "f" else 0.0
    return bool(apart <= ROUNDINGS * eps * np.max(np.abs(g), initial=0.0))


def _one_triangle(plan: runner.Plan, name: str, out: Out) -> bool:
    """Whether the forward gives the same where one triangle holds other numbers."""
    evaluate: Callable[[Case], Out] = getattr(plan.adapter, "evaluate", lambda case: plan.adapter.vjp(case)[0])
    value = plan.case.primals[name]
    for triangle in (np.triu(np.ones(value.shape[-2:]), 1), np.tril(np.ones(value.shape[-2:]), -1)):
        other = np.asarray(value * (1 + 0.01 * triangle), value.dtype)
        found = leaves(evaluate(plan.case.at({name: other})))
        if all(np.array_equal(found[k], v) for k, v in leaves(out).items()):
            return True
    return False


@dataclass(frozen=True, kw_only=True)
class _Even(Case):
    """A case that hands out the symmetric parts of what ``source`` hands out."""

    source: Case
    names: frozenset[str]

    def thawed(self) -> dict[str, Array]:
        return {k: even(v) if k in self.names else v for k, v in self.source.thawed().items()}


class OnSymmetric:
    """The adapter ``inner`` at the symmetric part of its primals ``names``, gradients likewise."""

    def __init__(self, inner: Adapter, names: frozenset[str]) -> None:
        self._inner, self.names = inner, names
        self.name = inner.name
        for own, way in (("call", self._call), ("vjp_wrt", self._vjp_wrt), ("raw_vjp", self._raw_vjp)):
            if hasattr(inner, own):
                setattr(self, own, way)

    def __getattr__(self, name: str) -> Any:
        """What is public and is given no primals is the inner adapter's."""
        if name.startswith("_") or name in HELD:
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def notes(self) -> tuple[str, ...]:
        """The inner adapter's, and how the gradient is read."""
        return (*getattr(self._inner, "notes", ()), *(SAID.format(n) for n in sorted(self.names)))

    def evaluate(self, case: Case) -> Out:
        """The forward alone."""
        forward = getattr(self._inner, "evaluate", None)
        given = self._case(case)
        return forward(given) if forward is not None else self._inner.vjp(given)[0]

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        """The inner adapter's at the symmetric part."""
        return self._around(self._inner.vjp(self._case(case)))

    def _vjp_wrt(self, case: Case, names: frozenset[str]) -> tuple[Out, Pullback]:
        return self._around(self._inner.vjp_wrt(self._case(case), names))  # type: ignore[attr-defined]  # asked for

    def _raw_vjp(self, case: Case) -> tuple[Out, Pullback]:
        return self._around(self._inner.raw_vjp(self._case(case)))  # type: ignore[attr-defined]  # asked for

    def _call(self, primals: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
        given = {k: even(v) if k in self.names else v for k, v in primals.items()}
        return self._inner.call(given, constants)  # type: ignore[attr-defined]  # asked for in __init__

    def _around(self, answered: tuple[Out, Pullback]) -> tuple[Out, Pullback]:
        out, inner = answered

        def pullback(upstream: Out) -> Gradients:
            return {k: even(g) if k in self.names and g is not None else g for k, g in inner(upstream).items()}

        return out, pullback

    def _case(self, case: Case) -> Case:
        plain = {f.name: getattr(case, f.name) for f in fields(Case)}
        given = {k: even(v) if k in self.names else v for k, v in case.primals.items()}
        return _Even(**{**plain, "primals": given}, source=case, names=self.names)


def even(value: Any) -> Any:
    """The symmetric part of matrices in the last two axes."""
    return 0.5 * (value + value.swapaxes(-1, -2)) if len(value.shape) > 1 else value
