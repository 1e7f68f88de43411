"""The words around the calibration table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradverify.studies import _tables

COLUMNS = {
    "family": "function",
    "kind": "kind",
    "asked": "asked",
    "n": "n",
    "covered": "covered",
    "missed": "missed",
    "unknown": "does not know",
    "kinks": "kinks",
    "claimed": "median claimed error, relative",
    "ratio": "median claimed / true",
    "samples": "samples per line",
}
MISSED = {"family": "function", "asked": "asked", "x": "x", "truth": "truth", "value": "value", "error": "claimed"}

EXPLAINED = """\
A triple is (function, point, direction) with its derivative in closed form, computed in extended precision.
*Covered* is the part of the claims that hold; at a kink the claim is the interval of the one-sided derivatives,
which must contain both. *Does not know* is no claim. The ratio leaves out kinks and derivatives that are exactly
zero and exactly found; true errors below half a rounding count as half a rounding. Samples are evaluations of the
forward, the noise estimate included.

Alone and along a direction the sharpest answer is asked for (1e-11 relative). In arrays the entries of one argument
are asked one by one, as the consultation does: to 1e-8 of the largest gradient, after which the ladder stops, and
the rounding of all outputs is counted at every entry. These claims are larger than they need be, so that the
promise on the median is about the other two; the promise that claims hold is about all."""


def markdown(said: str, rows: Sequence[Mapping[str, Any]], missed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The summary, what the columns mean, the table, and the claims that do not hold."""
    yield "# Calibration: the errors that finite differences claim, against the true ones"
    yield ""
    yield said
    yield ""
    yield from EXPLAINED.splitlines()
    yield ""
    yield from _tables.markdown_table(rows, COLUMNS)
    if missed:
        yield from ("", "Claims that do not hold:", "")
        yield from _tables.markdown_table(missed, MISSED)
