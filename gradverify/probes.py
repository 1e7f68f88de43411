"""Which directions to ask about when asking about every entry is too dear, and how to find what is wrong.

A random +-1 direction over all primals together sees an error in one entry as large as that entry times its scale;
the others contribute only their own rounding. What is wrong is then found by halving: the mismatch is linear, so each
half costs one measurement, and about log2(entries) of them lead to the entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradverify.oracles._rough import rough
from gradverify.types import Array, Estimate, Measurement, rng_for

if TYPE_CHECKING:
    from gradverify.consult import Consultation

DROWNED = 1e-3  #: no primal is shrunk below this part of its natural scale
ROUNDINGS = 32.0  #: roundings of the root mean square contribution that a sum over a direction may carry
LOCATED = 4  #: wrong entries that are looked for, one by one


def direction(
    scales: Mapping[str, Array], gradients: Mapping[str, Array], rng: np.random.Generator
) -> dict[str, Array]:
    """Random +-1 over all primals together, in natural units, each primal weighted to contribute about alike.

    scales     natural size of every entry
    gradients  what the contributions are estimated from; only the weights depend on them
    """
    signs = {k: rng.choice([-1.0, 1.0], v.shape) for k, v in scales.items()}
    sizes = {k: _contribution(gradients[k], v) for k, v in scales.items()}
    smallest = min((s for s in sizes.values() if s > 0), default=1.0)
    weight = {k: max(DROWNED, smallest / s) if s > 0 else 1.0 for k, s in sizes.items()}
    return {k: weight[k] * scales[k] * signs[k] for k in scales}


def _contribution(gradient: Array, scale: Array) -> float:
    g = np.nan_to_num(np.asarray(gradient, dtype=float), nan=0.0, posinf=0.0, neginf=0.0)
    return float(np.sqrt(np.sum((g * scale) ** 2))) if g.shape == scale.shape else 0.0


def measure(c: Consultation) -> list[Measurement]:
    """The gradient along random directions; if one does not match, the primal and the entries that are wrong."""
    scales = {k: c.differences.scales(c.forward, k) for k in c.names}
    found = []
    for i in range(2):
        rng = rng_for(c.seed, c.case.name, "probe", str(i))
        m = _along(c, direction(scales, c.got, rng), f"gradient along random direction {i + 1}")
        found.append(m)
        if _off(m) and not _off(_with_rounding(c, m)):
            found[-1] = _with_rounding(c, m)
    if not any(_off(m) for m in found):
        return found
    for name in c.names:
        rng = rng_for(c.seed, c.case.name, "probe", name)
        tangent = {name: scales[name] * rng.choice([-1.0, 1.0], scales[name].shape)}
        m = _along(c, tangent, f"gradient of {name} along a random direction")
        if _off(m):
            found.append(_located(c, name, tangent[name], m))
    return found


def _along(c: Consultation, tangent: Mapping[str, Array], of: str) -> Measurement:
    parts = {k: c.got[k].astype(float) * v for k, v in tangent.items() if c.got[k].shape == v.shape}
    said = float(sum(np.sum(p) for p in parts.values()))
    size = float(np.sqrt(sum(np.sum(p**2) for p in parts.values())))
    slopes = c.differences.along(c.forward, tangent, accept=1e-7 * size)
    entries = sum(v.size for v in tangent.values())
    eps = max(c.eps[k] for k in tangent)
    error = float(slopes.error[0]) if np.isfinite(slopes.error[0]) else np.nan
    one = float(error / size * np.sqrt(entries)) if size > 0 else float("nan")
    return Measurement(
        of=of,
        got=np.asarray(said),
        want=Estimate(value=slopes.value[0], error=0.0 if slopes.kink[0] else error),
        oracle="finite-differences",
        rounding=ROUNDINGS * eps * size,
        scale=size,
        ask=max(max(c.eps[k] for k in tangent), c.forward.eps) ** 0.25,
        lower=slopes.lower[0],
        upper=slopes.upper[0],
        notes=(
            f"{entries} entries probed together: a typical entry wrong by {one:.0e} of itself would have been seen",
        ),
        facts={"entries": entries, "seen_in_one_entry": one, "primal": _single(tangent)},
    )


def _single(tangent: Mapping[str, Array]) -> str | None:
    return next(iter(tangent)) if len(tangent) == 1 else None


def _with_rounding(c: Consultation, m: Measurement) -> Measurement:
    """The measurement with the implementation's measured rounding in its budget."""
    from dataclasses import replace

    total = 0.0
    for k in c.names:
        if k not in c.missing:
            scale = c.differences.scales(c.forward, k)
            total += float(np.sum((np.asarray(c.rounding(k)) * scale) ** 2))
    return replace(m, rounding=max(float(np.max(m.rounding)), float(np.sqrt(total))))


def _off(m: Measurement) -> bool:
    """Whether the judge would fail it; only steers the search."""
    got, error = float(m.got), float(m.want.error)
    if not np.isfinite(error):
        return False
    slack = error + float(np.max(m.rounding))
    low, high = float(np.min(np.asarray(m.lower))), float(np.max(np.asarray(m.upper)))
    return not (min(low, float(m.want.value)) - slack <= got <= max(high, float(m.want.value)) + slack)


def _located(c: Consultation, name: str, tangent: Array, whole: Measurement) -> Measurement:
    """The wrong entries of one primal, by halving, as a measurement that knows only them."""
    got = c.got[name]
    value, error = got.astype(float).copy(), np.full(got.shape, np.nan)
    mismatch, told = float(whole.got) - float(whole.want.value), []
    remaining = np.ones(got.size, bool)
    for _ in range(LOCATED):
        flat, missed = _halved(c, name, tangent, remaining, mismatch)
        index = np.unravel_index(flat, got.shape)
        slopes = c.differences.entries(
            c.forward, name, np.array([flat]), accept=0.01 * abs(missed / tangent.ravel()[flat])
        )
        value[index], error[index] = slopes.value[0], slopes.error[0] if np.isfinite(slopes.error[0]) else np.nan
        told.append(tuple(int(i) for i in index))
        remaining[flat] = False
        mismatch -= float((got[index] - value[index]) * tangent[index])
        if abs(mismatch) <= float(np.max(whole.rounding)) + 2 * float(whole.want.error) + 1e-6 * abs(missed):
            break
    where = "only there" if len(told) < LOCATED else _pattern(c, name, tangent, told, mismatch)
    facts: dict[str, Any] = {"primal": name, "entries": told, "where": where}
    return Measurement(
        of=f"gradient of {name}",
        got=got,
        want=Estimate(value=value, error=error),
        oracle="finite-differences",
        rounding=0.0,
        scale=float(np.max(np.abs(got[np.isfinite(got)]), initial=0.0)),
        notes=(f"found by halving: wrong at {', '.join(str(list(t)) for t in told)}; {where}",),
        facts=facts,
    )


def _halved(c: Consultation, name: str, tangent: Array, inside: Array, mismatch: float) -> tuple[int, float]:
    """Flat index of an entry that is wrong, and the mismatch that led there."""
    candidates = np.flatnonzero(inside)
    flat_tangent, flat_got = tangent.ravel(), c.got[name].ravel().astype(float)
    while candidates.size > 1:
        half = candidates[: candidates.size // 2]
        part = np.zeros(tangent.size)
        part[half] = flat_tangent[half]
        slope, _ = rough(c.forward, {name: part.reshape(tangent.shape)})
        missed = float(np.sum(flat_got[half] * flat_tangent[half])) - slope
        if abs(missed) >= abs(mismatch - missed):
            candidates, mismatch = half, missed
        else:
            candidates, mismatch = candidates[candidates.size // 2 :], mismatch - missed
    return int(candidates[0]), mismatch


def _pattern(c: Consultation, name: str, tangent: Array, told: list[tuple[int, ...]], mismatch: float) -> str:
    """Whether a row, column or slab through the first wrong entry explains what is left."""
    for axis in range(tangent.ndim):
        slab: list[Any] = [slice(None)] * tangent.ndim
        slab[axis] = told[0][axis]
        part = np.zeros(tangent.shape)
        part[tuple(slab)] = tangent[tuple(slab)]
        for t in told:
            part[t] = 0.0
        slope, error = rough(c.forward, {name: part})
        missed = float(np.sum(c.got[name].astype(float) * part)) - slope
        if abs(missed - mismatch) <= 0.05 * abs(mismatch) + error:
            kind = {(2, 0): "row", (2, 1): "column"}.get((tangent.ndim, axis), f"index along axis {axis}:")
            return f"all in {kind} {told[0][axis]}"
    return "and elsewhere: more entries are wrong"
