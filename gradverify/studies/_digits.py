"""How many digits of a gradient are right: the numbers of one row of the accuracy table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradverify.types import Array, Gradients

#: dtype -> the spacing of 1.0
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}

#: dtype -> its smallest normal number: what is smaller underflows, which is no loss of digits
TINY = {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-14, "bfloat16": 2.0**-126}

#: Roundings of its largest entry that a good gradient may lose; families of ops that sum a lot say more.
ROUNDINGS = 16.0


@dataclass(frozen=True, kw_only=True)
class Error:
    """The largest error of one gradient.

    relative   |got - want| / largest |want|: NaN where ``got`` is not finite and ``want`` is
    entrywise  largest |got - want| / |want| over the entries that do not underflow
    """

    of: str
    relative: float
    entrywise: float
    entries: int
    got: float
    want: float
    gap: float
    index: tuple[int, ...]


def errors(label: str, got: Gradients, want: Mapping[str, Array | None], dtype: str) -> Iterable[Error]:
    """The errors of the gradients that both sides have; ``label`` goes before the name of the primal."""
    for name, g in got.items():
        w = want.get(name)
        if g is None or w is None or not np.size(g) or np.shape(g) != np.shape(w):
            continue
        yield error(f"{label}: {name}", np.asarray(g), np.asarray(w), TINY[dtype])


def error(of: str, got: Array, want: Array, tiny: float) -> Error:
    """The largest error of ``got``; both of one shape; magnitudes below ``tiny`` count as ``tiny``."""
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(got.astype(want.dtype) - want)
    scale = max(float(np.max(np.abs(want))), tiny)
    lost = np.where(np.isfinite(gap), gap, np.inf)
    at = np.unravel_index(int(np.argmax(lost)), lost.shape)
    some = np.abs(want) > tiny
    entrywise = float(np.max(lost[some] / np.abs(want[some]))) if some.any() else 0.0
    largest = float(lost[at])
    return Error(
        of=of,
        relative=largest / scale,
        entrywise=entrywise,
        entries=got.size,
        got=float(got[at]),
        want=float(want[at]),
        gap=largest,
        index=tuple(int(i) for i in at),
    )


def digits(relative: float, eps: float) -> float:
    """Right decimal digits; no more than the dtype can show, none where the result is not even of the right size."""
    if not math.isfinite(relative):
        return 0.0
    return max(0.0, -math.log10(max(relative, eps / 2)))


def promised(eps: float, roundings: float = ROUNDINGS) -> float:
    """The digits that are left when ``roundings`` of the largest entry are lost."""
    return max(0.0, -math.log10(roundings * eps))


def columns(found: list[Error], dtype: str, roundings: float) -> dict[str, Any]:
    """The accuracy columns of a row, from the worst of its gradients."""
    eps = EPS[dtype]
    worst = max(found, key=lambda e: e.relative)
    achieved, due = digits(worst.relative, eps), promised(eps, roundings)
    return {
        "max_relative_error": worst.relative,
        "max_entrywise_error": max(e.entrywise for e in found),
        "ulps": worst.relative / eps,
        "digits": round(achieved, 2),
        "promised_digits": round(due, 2),
        "flagged": achieved < due,
        "entries": sum(e.entries for e in found),
        "worst": worst.of,
    }
