"""Oracles that answer along a direction or for a named op, asked beside the one that settles every entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradverify import registry
from gradverify.errors import GradverifyError, Unsupported
from gradverify.oracles.adjoint import Adjoint
from gradverify.oracles.forward_mode import ForwardMode
from gradverify.oracles.line_integral import LineIntegral
from gradverify.oracles.reference import Reference
from gradverify.types import Array, Case, Estimate, Gradients, Measurement, leaves, rng_for

if TYPE_CHECKING:
    from gradverify.consult import Consultation

#: oracles that the consultation knows how to ask; any other is asked for the whole gradient
BUILT_IN = frozenset(
    {"finite-differences", "complex-step", "line-integral", "torch-autograd", "forward-mode", "reference", "adjoint"}
)
ROUNDINGS = 64.0  #: of the root mean square contribution to a sum over a direction


def second_opinions(c: Consultation) -> list[Measurement]:
    """The implementation's own jvp against its backward; torch's forward mode (thorough); the reference by name."""
    found = []
    if c.allows("adjoint") and not Adjoint().supports(c.adapter, c.case):
        found.extend(_along(c, "adjoint", lambda v: Adjoint().along(c.adapter, c.case, v)))
    asked = c.level == "thorough" or (c.oracles is not None and "forward-mode" in c.oracles)
    if asked and c.allows("forward-mode") and not ForwardMode().supports(c.adapter, c.case):
        found.extend(_along(c, "forward-mode", lambda v: ForwardMode().along(c.adapter, c.case, v)))
    if c.allows("reference") and not Reference().supports(c.adapter, c.case):
        found.extend(_reference(c))
    for entry in registry.oracle.entries():
        if entry.name not in BUILT_IN and c.allows(entry.name):
            found.extend(_third_party(c, entry.name, entry.item()))
    return found


def _along(c: Consultation, name: str, ask: Callable[[Mapping[str, Array]], float]) -> list[Measurement]:
    """What an oracle says along a direction; nothing where it declines, as jax does inside a custom_vjp."""
    try:
        return [_directional(c, name, ask)]
    except Unsupported as reason:
        c.declined[name] = str(reason)
        return []


def _third_party(c: Consultation, name: str, oracle: Any) -> list[Measurement]:
    """An oracle that came with a file or an entry point: ``gradient(adapter, case) -> {primal: Estimate}``."""
    if not hasattr(oracle, "gradient"):
        return []
    reason = oracle.supports(c.adapter, c.case)
    if reason:
        c.declined[name] = reason
        return []
    try:
        estimates = oracle.gradient(c.adapter, c.case)
    except Unsupported as declined:
        c.declined[name] = str(declined)
        return []
    found = []
    for primal, estimate in estimates.items():
        if primal not in c.names or primal in c.missing:
            continue
        size = float(np.max(np.abs(estimate.value), initial=0.0))
        found.append(
            Measurement(of=f"gradient of {primal}", got=c.got[primal], want=estimate, oracle=name,
                        rounding=np.maximum(c.rounding(primal), ROUNDINGS * c.eps[primal] * size), scale=size,
                        facts={"primal": primal})
        )  # fmt: skip
    return found


def _directional(c: Consultation, name: str, ask: Callable[[Mapping[str, Array]], float]) -> Measurement:
    tangent = c.direction(c.got, name)
    said, size = tangent.times(c.got)
    want = ask(tangent)
    error, rounding = ROUNDINGS * np.finfo(float).eps * size, ROUNDINGS * max(c.eps[k] for k in tangent) * size
    if abs(said - want) > error + rounding:  # a gradient that cancels to nothing is as large as its own rounding
        rounding += 2 * float(np.sqrt(sum(np.sum((tangent[k] * c.rounding(k)) ** 2) for k in tangent)))
    return Measurement(
        of="gradient along a random direction",
        got=np.asarray(said),
        want=Estimate(value=np.asarray(want), error=np.asarray(error)),
        oracle=name,
        rounding=rounding,
        scale=size,
        facts={"direction": name},
    )


def _reference(c: Consultation) -> list[Measurement]:
    try:
        out, gradients = Reference().gradient(c.case)
    except (GradverifyError, ValueError) as reason:
        c.declined["reference"] = str(reason)
        return []
    eps = max(c.eps.values())
    found = []
    for k, v in leaves(c.forward.out).items():
        want = np.asarray(leaves(out)[k], dtype=float)
        size = float(np.max(np.abs(want[np.isfinite(want)]), initial=0.0))
        found.append(
            Measurement(of="value", got=np.asarray(v, float), want=Estimate(value=want, error=np.zeros(want.shape)),
                        oracle="reference", rounding=ROUNDINGS * eps * size, scale=size, facts={"value": k})
        )  # fmt: skip
    for name in c.names:
        truth = gradients.get(name)
        if truth is None or name in c.missing:
            continue
        size = float(np.max(np.abs(truth), initial=0.0))
        bound = np.full(np.shape(truth), ROUNDINGS * np.finfo(float).eps * size)
        estimate = Estimate(value=np.asarray(truth, float), error=bound)
        allowed = np.maximum(c.rounding(name), ROUNDINGS * eps * size)
        found.append(
            Measurement(of=f"gradient of {name}", got=c.got[name], want=estimate, oracle="reference",
                        rounding=allowed, scale=size, facts={"primal": name})
        )  # fmt: skip
    return found


def along_segments(
    c: Consultation, name: str, gradients: Callable[[Case], Gradients], vague: Measurement
) -> Measurement:
    """The line integral's word on a gradient that no other oracle could settle (low precision, noise).

    Returns a measurement along random segments, or ``vague`` as it was when the integral does not know either.
    """
    if not c.allows("line-integral") or name in c.missing:
        return vague
    balances, size = [], 0.0
    for i in range(3):
        rng = rng_for(c.seed, c.case.name, name, "segment", str(i))
        tangent = {name: c.differences.scales(c.forward, name) * rng.choice([-1.0, 1.0], c.case.primals[name].shape)}
        balance = LineIntegral().along(c.forward, gradients, tangent, c.eps[name])
        if balance is None:
            return vague
        balances.append(balance)
        size = max(size, float(np.sqrt(np.sum((c.got[name].astype(float) * tangent[name]) ** 2))))
    steps = max(b.steps for b in balances)
    balances = [b.with_steps(steps) for b in balances]
    if not max(b.error for b in balances) < vague.ask * size:
        return vague
    return replace(
        vague,
        of=f"gradient of {name} along random segments",
        got=np.array([b.integral for b in balances]),
        want=Estimate(value=np.array([b.change for b in balances]), error=np.array([b.error for b in balances])),
        oracle="line-integral",
        rounding=ROUNDINGS * c.eps[name] * size,
        scale=size,
        lower=None,
        upper=None,
        notes=(
            *vague.notes,
            "differences cannot resolve this gradient; judged by the change of the forward along segments",
        ),
    )
