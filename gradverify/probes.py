"""Which directions to ask about when asking about every entry is too dear, and how to find what is wrong.

A random +-1 direction over all primals together sees an error in one entry as large as that entry times its scale;
the others contribute only their own rounding. What is wrong is then found by halving: the mismatch is linear, so each
half costs one measurement, and about log2(entries) of them lead to the entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradverify.directions import Direction
from gradverify.oracles._line import Line, met
from gradverify.oracles._patterns import block, patterns, triangle
from gradverify.oracles._rough import Mismatch
from gradverify.types import Array, Estimate, Measurement, rng_for

if TYPE_CHECKING:
    from gradverify.consult import Consultation

SEEN = 10.0  #: times what is known of a direction that a primal must contribute to be judged by it
HULL = 8.0  #: widths of the interval of the one-sided slopes that a direction may be beside it, at kinks
CLEAR = 1e3  #: claimed errors that noise is not mistaken for
SMOOTH = 1e-6  #: central differences that claim more than this, relative to the contributions, have met a kink
HOPELESS = 1e9  #: roundings of the root mean square contribution that no cancellation in a backward reaches
ROUNDINGS = 32.0  #: roundings of the root mean square contribution that a sum over a direction may carry
LOCATED = 2  #: entries that are looked at one by one in a primal that is wrong
PRIMALS = 32  #: primals that are asked one by one whether they are wrong
REPORTED = 4  #: primals that are wrong and searched
MOST = 0.9  #: a block of more than this part of an array is all of it


def measure(c: Consultation) -> list[Measurement]:
    """The gradient along random directions; if one does not match, the entries that are wrong."""
    found: list[Measurement] = []
    for i in range(2):
        line = Line(c.forward, c.direction(c.got, f"probe/{i}"), c.forward.noise_of(c.forward.origin))
        of = f"gradient along random direction {i + 1}"
        # a second direction is for errors that cancel in the first: it need not be as sharp
        m = _along(c, line, of, few=bool(found))
        if _off(m) and not _clear(m):
            # the noise of the function (some thirteen forwards) is asked for only now
            line.floor = c.differences.noise_floor(c.forward)
            m = _along(c, line, of)
        if _off(m) and not _beyond_rounding(c, m):
            m = _with_rounding(c, m)
        if _off(m):
            located = _located(c, line, m)
            if any(_wrong(entry) for entry in located):
                # one direction that does not match is enough: what is left is to find where
                return [*found, m, *located]
            m = replace(_along(c, line, of, kinks=True), rounding=m.rounding)
            if _off(m) and not m.facts["kink"]:
                return [*found, m, *located]
            if _off(m):  # the entries that the search led to are right: no choice at the kinks was found to be wrong
                m = replace(m, want=Estimate(value=m.want.value, error=np.asarray(np.nan)))
        found.append(m)
    return found


def _clear(m: Measurement) -> bool:
    """Whether the samples agree with each other far better than with the gradient: no noise does that."""
    return abs(float(m.got) - float(m.want.value)) > CLEAR * float(m.want.error)


def _along(c: Consultation, line: Line, of: str, *, few: bool = False, kinks: bool = False) -> Measurement:
    """One direction.

    few    four samples do, where they come out at the gradient
    kinks  the error includes what a kink at the very point may be
    """
    tangent = line.tangent
    assert isinstance(tangent, Direction)  # as measure() makes them
    shares = tangent.shares(c.got)
    said, size = sum(total for total, _ in shares.values()), sum(s**2 for _, s in shares.values()) ** 0.5
    rounding = ROUNDINGS * max(c.eps[k] for k in tangent) * size
    central, agrees = met(line, said, slack=rounding, few=few)
    value, error, lower, upper = central.value, central.error, central.value, central.value
    if not central.error <= SMOOTH * size or (kinks and not agrees):
        slopes = c.differences.on(line, accept=1e-7 * size)
        value, lower, upper = (float(v[0]) for v in (slopes.value, slopes.lower, slopes.upper))
        error = 0.0 if slopes.kink[0] else float(slopes.error[0])
        if slopes.kink[0]:
            # where many kinks meet the choices at each add up to more than the two one-sided slopes of all together
            margin = HULL * (upper - lower)
            lower, upper = min(lower - margin, 0.0), max(upper + margin, 0.0)
    error = error if np.isfinite(error) else np.nan
    one = float((error + rounding) / size * np.sqrt(tangent.entries)) if size > 0 else float("nan")
    return Measurement(
        of=of,
        got=np.asarray(said),
        want=Estimate(value=np.asarray(value), error=np.asarray(error)),
        oracle="finite-differences",
        rounding=rounding,
        scale=size,
        ask=max(*(c.eps[k] for k in tangent), c.forward.eps) ** 0.25,
        lower=np.asarray(lower),
        upper=np.asarray(upper),
        notes=(
            f"{tangent.entries} entries probed together: a typical entry wrong by {one:.0e} of itself would have been "
            "seen",
            *_drowned(shares, max(error, rounding)),
        ),
        facts={
            "entries": tangent.entries,
            "seen_in_one_entry": one,
            "primal": _single(tangent),
            "kink": bool(upper > lower),
        },
    )


def _drowned(shares: Mapping[str, tuple[float, float]], known: float) -> tuple[str, ...]:
    """The primals whose whole contribution to a direction is not far above what is known of it."""
    unseen = [k for k, (_, size) in shares.items() if not SEEN * known <= size]
    if not unseen or len(shares) == 1:
        return ()
    said = ", ".join(unseen[:REPORTED]) + (f" and {len(unseen) - REPORTED} more" if len(unseen) > REPORTED else "")
    return (f"too small beside the others to be judged along a direction: the gradient of {said}",)


def _single(tangent: Mapping[str, Array]) -> str | None:
    return next(iter(tangent)) if len(tangent) == 1 else None


def _with_rounding(c: Consultation, m: Measurement) -> Measurement:
    """The measurement with the implementation's measured rounding in its budget."""
    gap, total = abs(float(m.got) - float(m.want.value)), 0.0
    for once in (True, False):
        total = 0.0
        for k in c.names:
            if k not in c.missing:
                # a gap without end in it asks for one run only
                own = c.rounding(k, np.full(c.got[k].shape, np.inf) if once else None)
                total += float(np.sum((np.asarray(own) * c.forward.scales(k)) ** 2))
        if gap > CLEAR * total**0.5:
            break
    return replace(m, rounding=max(float(np.max(m.rounding)), total**0.5))


def _beyond_rounding(c: Consultation, m: Measurement) -> bool:
    """Whether no rounding explains the mismatch, so that measuring it (many backward passes) is spared."""
    return abs(float(m.got) - float(m.want.value)) > HOPELESS * max(c.eps.values()) * m.scale


def _off(m: Measurement) -> bool:
    """Whether the judge would fail it; only steers the search."""
    got, error = float(m.got), float(m.want.error)
    if not np.isfinite(error):
        return False
    slack = error + float(np.max(m.rounding))
    low, high = float(np.min(np.asarray(m.lower))), float(np.max(np.asarray(m.upper)))
    return not (min(low, float(m.want.value)) - slack <= got <= max(high, float(m.want.value)) + slack)


def _wrong(m: Measurement) -> bool:
    """Whether the judge would fail one of the entries that were looked at."""
    known = np.isfinite(m.want.error)
    inside = np.zeros(known.shape, bool)
    if m.lower is not None and m.upper is not None:
        slack = np.asarray(m.rounding) + 0.0
        inside = (m.upper > m.lower) & (m.got >= m.lower - slack) & (m.got <= m.upper + slack)
    gap = np.abs(m.got - m.want.value)
    return bool(np.any(known & ~inside & ~(gap <= m.want.error + m.rounding)))


def _located(c: Consultation, line: Line, whole: Measurement) -> list[Measurement]:
    """One measurement for each primal that is wrong, which knows the entries that were looked at."""
    strange = {k: np.flatnonzero(~np.isfinite(g.ravel())) for k, g in c.got.items() if not np.all(np.isfinite(g))}
    if strange:
        return [_entries(c, k, at[:LOCATED], "not finite") for k, at in strange.items()]
    fitting = {k: v for k, v in line.tangent.items() if c.got[k].shape == v.shape}
    noise = line.floor
    search = Mismatch(c.forward, c.got, fitting, noise=noise, size=whole.scale)
    mismatch = float(whole.got) - float(whole.want.value)
    doubt = search.sharpen(mismatch) + float(np.max(whole.rounding))
    alone = search.single(mismatch, doubt)
    if alone is not None:
        where, flat = search.place(alone)
        return [_explained(c, search, where, flat, mismatch, doubt)]
    shares = {k: search.of(search.all_of(k)) for k in fitting} if 1 < len(fitting) <= PRIMALS else {}
    if len(fitting) == 1:
        shares = dict.fromkeys(fitting, mismatch)
    wrong = sorted((k for k in shares if abs(shares[k]) > doubt), key=lambda k: -abs(shares[k]))
    found = [_explained(c, search, k, _first(search, k, shares[k], doubt), shares[k], doubt) for k in wrong[:REPORTED]]
    if not found:
        where, flat = search.place(search.halved(np.arange(search.entries), mismatch)[0])
        total = search.of(search.all_of(where)) if len(fitting) > 1 else mismatch
        found.append(_explained(c, search, where, flat, total, doubt))
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
