"""Which directions to ask about when asking about every entry is too dear.

A random direction over all primals together sees an error in one entry as large as that entry times its scale; the
others contribute only their own rounding. Where it does not match, ``search`` finds what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradverify import rounding
from gradverify.directions import Direction
from gradverify.oracles._line import Line, met
from gradverify.search import ROUNDINGS, located
from gradverify.types import Array, Estimate, Measurement

if TYPE_CHECKING:
    from gradverify.consult import Consultation

SEEN = 10.0  #: times what is known of a direction that a primal must contribute to be judged by it
HULL = 8.0  #: widths of the interval of the one-sided slopes that a direction may be beside it, at kinks
CLEAR = 100.0  #: claimed errors that noise is not mistaken for: it would make three samples agree so well by accident
SMOOTH = 1e-6  #: central differences that claim more than this, relative to the contributions, have met a kink
REPORTED = 4  #: primals that are named in a note


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
        entries: list[Measurement] = []
        for measured in (False, True):
            if _off(m) and measured and not _beyond_rounding(c, m):
                m = _with_rounding(c, m)
            if _off(m) and not entries and (measured or _no_rounding(m)):
                entries = located(c, line, m)
                if any(_wrong(entry) for entry in entries):
                    # one direction that does not match is enough: what is left is to find where
                    return [*found, m, *entries]
        if _off(m):
            m = replace(_along(c, line, of, kinks=True), rounding=m.rounding)
            if _off(m) and not m.facts["kink"]:
                return [*found, m, *entries]
            if _off(m):  # the entries that the search led to are right: no choice at the kinks was found to be wrong
                m = replace(m, want=Estimate(value=m.want.value, error=np.asarray(np.nan)))
        found.append(m)
    return found


def _clear(m: Measurement) -> bool:
    """Whether the samples agree with each other far better than with the gradient: no noise does that."""
    want = float(m.want.value)
    return want != 0 and abs(float(m.got) - want) > CLEAR * float(m.want.error)


def _along(c: Consultation, line: Line, of: str, *, few: bool = False, kinks: bool = False) -> Measurement:
    """One direction.

    few    four samples do, where they come out at the gradient
    kinks  the error includes what a kink at the very point may be
    """
    tangent = line.tangent
    assert isinstance(tangent, Direction)  # as measure() makes them
    shares = tangent.shares(c.got)
    said, size = sum(total for total, _ in shares.values()), sum(s**2 for _, s in shares.values()) ** 0.5
    own = ROUNDINGS * max(c.eps[k] for k in tangent) * size
    central, agrees = met(line, said, slack=own, few=few)
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
    one = float((error + own) / size * np.sqrt(tangent.entries)) if size > 0 else float("nan")
    return Measurement(
        of=of,
        got=np.asarray(said),
        want=Estimate(value=np.asarray(value), error=np.asarray(error)),
        oracle="finite-differences",
        rounding=own,
        scale=size,
        ask=max(*(c.eps[k] for k in tangent), c.forward.eps) ** 0.25,
        lower=np.asarray(lower),
        upper=np.asarray(upper),
        notes=(
            f"{tangent.entries} entries probed together: a typical entry wrong by {one:.0e} of itself would have been "
            "seen",
            *_drowned(shares, max(error, own)),
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
                measured = c.rounding(k, np.full(c.got[k].shape, np.inf) if once else None)
                total += float(np.sum((np.asarray(measured) * c.forward.scales(k)) ** 2))
        if gap > rounding.CLEAR * total**0.5:
            break
    return replace(m, rounding=max(float(np.max(m.rounding)), total**0.5))


def _no_rounding(m: Measurement) -> bool:
    """Whether a mismatch is so far beyond what is always allowed that the search for it comes before any measuring.

    The entries that it ends at are looked at one by one, with the rounding of their own.
    """
    return abs(float(m.got) - float(m.want.value)) > rounding.CLEAR * float(np.max(m.rounding))


def _beyond_rounding(c: Consultation, m: Measurement) -> bool:
    """Whether no rounding explains the mismatch, so that measuring it (many backward passes) is spared."""
    return abs(float(m.got) - float(m.want.value)) > rounding.HOPELESS * max(c.eps.values()) * m.scale


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
