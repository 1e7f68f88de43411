"""Where a gradient is wrong that does not match along a direction.

The mismatch is linear in the direction: a lone entry, a row or a column is found by its place in a few questions
(``oracles._rough``), anything else by halving, about log2(entries) questions. What the search ends at is measured on a
full ladder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from gradverify.oracles._line import Line
from gradverify.oracles._patterns import block, patterns, triangle
from gradverify.oracles._rough import Mismatch
from gradverify.rounding import HOPELESS
from gradverify.types import Array, Estimate, Measurement, rng_for

if TYPE_CHECKING:
    from gradverify.consult import Consultation

ROUNDINGS = 32.0  #: roundings of the root mean square contribution that a sum over a direction may carry
LOCATED = 2  #: entries that are looked at one by one in a primal that is wrong
PRIMALS = 32  #: primals that are asked one by one whether they are wrong
REPORTED = 4  #: primals that are wrong and searched
MOST = 0.9  #: a block of more than this part of an array is all of it


def located(c: Consultation, line: Line, whole: Measurement) -> list[Measurement]:
    """One measurement for each primal that is wrong, which knows the entries that were looked at."""
    strange = {k: np.flatnonzero(~np.isfinite(g.ravel())) for k, g in c.got.items() if not np.all(np.isfinite(g))}
    if strange:
        return [_entries(c, k, at[:LOCATED], "not finite") for k, at in strange.items()]
    fitting = {k: v for k, v in line.tangent.items() if c.got[k].shape == v.shape}
    search = Mismatch(line, c.got, fitting)
    mismatch = float(whole.got) - float(whole.want.value)
    doubt = search.sharpen(mismatch) + float(np.max(whole.rounding))
    alone = search.single(mismatch, doubt)
    if alone is not None:
        where, flat = search.place(alone)
        return [_explained(c, search, where, flat, mismatch, doubt)]
    shares = _shares(search, fitting, mismatch, doubt) if len(fitting) <= PRIMALS else {}
    wrong = sorted((k for k in shares if abs(shares[k]) > doubt), key=lambda k: -abs(shares[k]))
    found = [_explained(c, search, k, _first(search, k, shares[k], doubt), shares[k], doubt) for k in wrong[:REPORTED]]
    if not found:
        where, flat = search.place(search.halved(np.arange(search.entries), mismatch)[0])
        total = search.of(search.all_of(where)) if len(fitting) > 1 else mismatch
        found.append(_explained(c, search, where, flat, total, doubt))
    return found


def _shares(search: Mismatch, fitting: Mapping[str, Array], mismatch: float, doubt: float) -> dict[str, float]:
    """The mismatch of each primal, the largest primals first, until nothing is left for the others."""
    found: dict[str, float] = {}
    left = sorted(fitting, key=lambda k: -fitting[k].size)
    while left and (not found or abs(mismatch - sum(found.values())) > doubt):
        k = left.pop(0)
        found[k] = search.of(search.all_of(k)) if left or not found else mismatch - sum(found.values())
    return found


def _first(search: Mismatch, name: str, mismatch: float, doubt: float) -> int:
    """An entry (flat index) of a primal that is wrong: the largest if that is, or what a few questions lead to."""
    everything = search.all_of(name)
    start = int(everything[0])
    most = search.largest(name, everything - start)
    if abs(search.of(np.array([start + most]))) > doubt:
        return most
    slab = search.slab(name, mismatch, doubt)
    if slab is not None:
        return search.largest(name, slab)
    return search.halved(everything, mismatch)[0] - start


def _explained(c: Consultation, search: Mismatch, name: str, first: int, mismatch: float, doubt: float) -> Measurement:
    """The entry that halving led to, and what the rest of the primal has to do with it."""
    m = _entries(c, name, np.array([first]), "")
    shape, got = c.got[name].shape, c.got[name].ravel().astype(float)
    told = np.array([first])
    alone = (got[first] - float(m.want.value.ravel()[first])) * search.tangent[name][first]
    if not np.isfinite(alone) or abs(mismatch - alone) <= max(doubt, 1e-3 * abs(mismatch)):
        return _entries(c, name, told, "only there", m)
    start = int(search.offsets[name])
    if _one_factor(c, search, m, name, first, mismatch, doubt):
        return _entries(c, name, _some(np.arange(got.size), first, c), "all over the array", m)
    for where, flat in patterns(shape, first):
        if _holds(search, flat + start, mismatch, doubt):
            return _entries(c, name, _some(flat, first, c), where, m)
    silence = max(doubt, 1e-4 * abs(mismatch))
    sides = [search.extent(name, first, axis, silence) for axis in range(len(shape))]
    inside = block(shape, sides)
    where, flat = triangle(shape, first)
    if 0 < flat.size < inside.size and _holds(search, np.sort(flat) + start, mismatch, doubt):
        return _entries(c, name, _some(flat, first, c), where, m)
    if inside.size > MOST * got.size:
        return _entries(c, name, _some(inside, first, c), "all over the array", m)
    where = f"all within [{', '.join(f'{a}:{b}' for a, b in sides)}]"
    if inside.size <= 2 * LOCATED:
        return _entries(c, name, inside, where, m)
    at, _ = search.halved(np.setdiff1d(inside, told) + start, mismatch - alone)
    return _entries(c, name, _some(inside, first, c, at - start), where, m)


def _one_factor(
    c: Consultation, search: Mismatch, m: Measurement, name: str, first: int, mismatch: float, doubt: float
) -> bool:
    """Whether the whole mismatch is what it would be if every entry were off by the factor that this one is off by."""
    got, want, error = (float(np.ravel(v)[first]) for v in (c.got[name], m.want.value, m.want.error))
    if not got or not abs(got - want) > 1e3 * error:
        return False
    said = (1 - want / got) * float(np.dot(search.got[name], search.tangent[name]))
    return abs(said - mismatch) <= max(doubt, 1e-4 * abs(mismatch))


def _holds(search: Mismatch, where: Array, mismatch: float, doubt: float) -> bool:
    """Whether these entries explain the whole mismatch."""
    return abs(search.of(where) - mismatch) <= max(doubt, 0.01 * abs(mismatch))


def _some(flat: Array, first: int, c: Consultation, *more: int) -> Array:
    """The entries that are known and a few others of a set."""
    known = [first, *more]
    others = flat[~np.isin(flat, known)]
    rng = rng_for(c.seed, c.case.name, "some")
    return np.concatenate([known, rng.choice(others, min(LOCATED - len(known), others.size), replace=False)])


def _rounding(c: Consultation, name: str, flat: Array, want: Array) -> Array | float:
    """Rounding of a gradient, measured where that could matter to the entries that were looked at."""
    got = c.got[name]
    largest = float(np.max(np.abs(got[np.isfinite(got)]), initial=0.0))
    floor = ROUNDINGS * c.eps[name] * largest
    gaps = np.abs(got.ravel()[flat] - want.ravel()[flat])
    if name in c.missing or not np.any(gaps <= HOPELESS * c.eps[name] * largest):
        return floor
    wide = np.zeros(got.size)
    wide[flat] = np.nan_to_num(gaps, nan=0.0)
    return np.maximum(c.rounding(name, wide.reshape(got.shape)), 0.0)


def _by_a_factor(got: Array, want: Array) -> tuple[str, ...]:
    """What the entries that were looked at have in common."""
    with np.errstate(all="ignore"):
        ratio = got.astype(float) / want
    if got.size < 2 or not np.all(np.isfinite(ratio)) or np.ptp(ratio) > 1e-4 * abs(ratio[0]):
        return ()
    return (f"these entries are {ratio[0]:.6g} times what they should be",)


def _entries(c: Consultation, name: str, flat: Array, where: str, known: Measurement | None = None) -> Measurement:
    """The gradient of a primal as far as these entries of it were measured; the others are not known."""
    got = c.got[name]
    shape = c.case.primals[name].shape
    value, error = np.zeros(shape), np.full(shape, np.nan)
    lower, upper = np.zeros(shape), np.zeros(shape)
    if known is not None:
        value, error = known.want.value.copy(), known.want.error.copy()
        assert known.lower is not None and known.upper is not None  # noqa: PT018  (made below, always with both)
        lower, upper = known.lower.copy(), known.upper.copy()
    ask = np.array([i for i in flat if np.isnan(error.ravel()[i])], dtype=int)
    if ask.size:
        size = np.abs(got.ravel()[ask]).astype(float)
        accept = np.where(np.isfinite(size), 1e-6 * size, 0.0)
        slopes = c.differences.against(c.forward, name, ask, got.ravel()[ask], accept=accept)
        value.flat[ask] = slopes.value
        lower.flat[ask] = np.where(slopes.kink, np.minimum(slopes.lower, 0.0), slopes.lower)
        upper.flat[ask] = np.where(slopes.kink, np.maximum(slopes.upper, 0.0), slopes.upper)
        error.flat[ask] = np.where(slopes.kink, 0.0, np.where(np.isfinite(slopes.error), slopes.error, np.nan))
    entries = [tuple(int(i) for i in np.unravel_index(f, shape)) for f in flat]
    said = ", ".join(str(list(e)) for e in entries)
    finite = np.abs(got[np.isfinite(got)]).astype(float)
    return Measurement(
        of=f"gradient of {name}",
        got=got,
        want=Estimate(value=value, error=error),
        oracle="finite-differences",
        rounding=_rounding(c, name, ask, value),
        scale=float(np.max(finite, initial=0.0)),
        lower=lower,
        upper=upper,
        notes=(f"found by halving: wrong at {said}; {where}", *_by_a_factor(got.ravel()[flat], value.ravel()[flat])),
        facts={"primal": name, "entries": entries, "where": where},
    )
