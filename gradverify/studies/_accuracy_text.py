"""The accuracy table as a person reads it: the answer first, then a map of digits, then what is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradverify.formats.markdown import escape
from gradverify.studies._tables import markdown_table, plain_table

Row = Mapping[str, Any]

COLUMNS = {
    "adapter": "adapter", "op": "op", "dtype": "dtype", "max_relative_error": "max relative error", "ulps": "ULPs",
    "digits": "digits", "promised_digits": "promised", "verdict": "verdict", "worst": "worst gradient",
}  # fmt: skip


HOW = (
    "A cell: decimal digits that are right in the worst entry of the worst gradient over all points of the op, and in",
    "brackets the error in units of eps of that gradient's largest entry. **short**: fewer digits than promised.",
    "A word: a verdict of `gv.verify` other than pass. Promised are the digits that 16 roundings of the largest entry",
    "leave (more where the family says so). Truth: `reference_impl` in extended precision at the same rounded",
    "inputs; a user's subject is compared with itself in float64. All columns are in the CSV.",
)


def answer(rows: Sequence[Row], seconds: float) -> str:
    """``141 of 147 pass; 3 have fewer digits than promised; fewest: torch gelu bfloat16, 1.2 of 1.7; 40 s``."""
    passed, flagged = sum(r["verdict"] == "pass" for r in rows), [r for r in rows if r["flagged"]]
    worst = min(rows, key=lambda r: r["digits"] - r["promised_digits"])
    short = f"{len(flagged)} have fewer digits than promised" if flagged else "none has fewer digits than promised"
    return (
        f"{passed} of {len(rows)} gradients pass; {short}; worst: {worst['adapter']} {worst['op']} {worst['dtype']}, "
        f"{worst['digits']:.1f} digits of {worst['promised_digits']:.1f} promised; {seconds:.0f} s"
    )


def noteworthy(rows: Sequence[Row]) -> list[Row]:
    """Rows that do not pass, then rows with fewer digits than promised, the worst first."""
    found = [r for r in rows if r["verdict"] != "pass" or r["flagged"]]
    return sorted(found, key=lambda r: (r["verdict"] == "pass", r["digits"] - r["promised_digits"]))


def terminal(rows: Sequence[Row], seconds: float) -> Iterator[str]:
    """The answer, and the rows that need a look."""
    yield answer(rows, seconds)
    few = noteworthy(rows) if len(rows) > 12 else rows
    if few:
        yield from plain_table(few, COLUMNS)
    yield from (f"{r['verdict']}: {r['adapter']} {r['dtype']} {r['why']}" for r in few if r["why"])


def markdown(rows: Sequence[Row], seconds: float) -> Iterator[str]:
    """The answer, what needs a look, the map op x (adapter, dtype), and how to read it."""
    yield "# Accuracy of gradients"
    yield ""
    yield f"**{escape(answer(rows, seconds))}**"
    few = noteworthy(rows)
    if few:
        yield ""
        yield "## Needs a look"
        yield ""
        yield from markdown_table(few, COLUMNS)
        yield ""
        yield from (
            f"- {r['verdict']}: {escape(r['adapter'])} {r['dtype']} {escape(r['why'])}" for r in few if r["why"]
        )
    yield ""
    yield "## Right digits, and ULPs"
    yield ""
    yield from _map(rows)
    yield ""
    yield from HOW


def _map(rows: Sequence[Row]) -> Iterator[str]:
    heads = list(dict.fromkeys((r["adapter"], r["dtype"]) for r in rows))
    cells = {(r["op"], r["adapter"], r["dtype"]): r for r in rows}
    yield "| op | " + " | ".join(f"{escape(a)} {d}" for a, d in heads) + " |"
    yield "| --- |" + " ---: |" * len(heads)
    for op in dict.fromkeys(r["op"] for r in rows):
        yield f"| {escape(op)} | " + " | ".join(_cell(cells.get((op, *head))) for head in heads) + " |"


def _cell(r: Row | None) -> str:
    if r is None:
        return ""
    word = "" if r["verdict"] == "pass" else f" **{r['verdict']}**"
    return f"{r['digits']:.1f} ({r['ulps']:.2g}){word}{' **short**' if r['flagged'] else ''}"
