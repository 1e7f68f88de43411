"""Findings as plain Python and back: what a JSON line holds and what may travel between processes.

NaN and the infinities are the strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``. In the free-form parts (header,
footer, facts) a text that happens to read so is written ``{"$str": "NaN"}``, and keys that begin with ``$`` get a
second one, so that reading back is exact.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradverify.types import Cause, Finding, Verdict

NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
FLOATS = ("got", "want", "want_error", "gap", "budget", "resolution", "seconds")
FIELDS = tuple(f.name for f in dataclasses.fields(Finding))

#: An array in ``facts`` with more entries than this is recorded as its shape: reports hold summaries, not data.
MOST_ENTRIES = 100


def plain(value: Any) -> Any:
    """``value`` made of None, bool, int, float, str, list and dict with text keys; what is none of these as text."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return plain(value.item()) if type(value.item()) in (bool, int, float, str) else str(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist()) if value.size <= MOST_ENTRIES else f"array {value.shape} {value.dtype}"
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):  # a subclass, such as an enum
            return kind(value)
    return str(value)


def pack(value: Any) -> Any:
    """A plain value with non-finite floats as strings, so that strict JSON can hold it."""
    if isinstance(value, float):
        return pack_float(value)
    if isinstance(value, str):
        return {"$str": value} if value in NONFINITE else value
    if isinstance(value, dict):
        return {("$" + k if k.startswith("$") else k): pack(v) for k, v in value.items()}
    if isinstance(value, list):
        return [pack(v) for v in value]
    return value


def unpack(value: Any) -> Any:
    """The inverse of ``pack``."""
    if isinstance(value, str):
        return NONFINITE.get(value, value)
    if isinstance(value, dict):
        if set(value) == {"$str"}:
            return value["$str"]
        return {(k[1:] if k.startswith("$") else k): unpack(v) for k, v in value.items()}
    if isinstance(value, list):
        return [unpack(v) for v in value]
    return value


def pack_float(value: float) -> float | str:
    """A float, or its name where JSON has no number for it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def encode(finding: Finding) -> dict[str, Any]:
    """A finding as a dict of plain values that strict JSON and every pickle-free wire can hold."""
    row: dict[str, Any] = {name: plain(getattr(finding, name)) for name in FIELDS if name != "causes"}
    for name in FLOATS:
        row[name] = None if row[name] is None else pack_float(float(row[name]))
    row["facts"] = pack(row["facts"])
    row["causes"] = [{**dataclasses.asdict(c), "confidence": pack_float(float(c.confidence))} for c in finding.causes]
    return row


def decode(row: Mapping[str, Any]) -> Finding:
    """The inverse of ``encode``. Raises ValueError, TypeError or KeyError for what ``encode`` cannot have written."""
    values = dict(row)
    for name in FLOATS:
        if name in values:
            values[name] = _float(values[name])
    values["verdict"] = Verdict(values["verdict"])
    values["index"] = None if values.get("index") is None else tuple(values["index"])
    values["notes"] = tuple(values.get("notes", ()))
    values["blind_spots"] = tuple(values.get("blind_spots", ()))
    values["causes"] = tuple(Cause(**{**c, "confidence": _float(c["confidence"])}) for c in values.get("causes", ()))
    values["facts"] = unpack(values.get("facts", {}))
    return Finding(**values)


def _float(value: Any) -> Any:
    return NONFINITE[value] if isinstance(value, str) else value
