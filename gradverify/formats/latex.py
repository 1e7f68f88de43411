"""For papers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gradverify.formats._words import check_name, headline, number, wanted, where, worst_first
from gradverify.registry import report_format
from gradverify.types import ReportLike

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    **{sign: "\\" + sign for sign in "&%$#_"},
}


@report_format("latex", suffix=".tex")
def latex(report: ReportLike) -> Iterator[str]:
    """A booktabs table, one row per finding, worst first; the document loads the package booktabs."""
    yield "% " + " ".join(headline(report).split())
    yield r"\begin{tabular}{lllllrrr}"
    yield r"\toprule"
    yield r"verdict & adapter & check & of & worst at & got & want & resolution \\"
    yield r"\midrule"
    for f in worst_first(report.findings):
        cells = (f.verdict.value, f.adapter, check_name(f), f.of, where(f), number(f.got), wanted(f))
        yield " & ".join(escape(c) for c in (*cells, number(f.resolution, 1))) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def escape(text: str) -> str:
    """Text that LaTeX prints as it is. A leading bracket is guarded: after a line break it would be an option."""
    flat = re.sub(r"[\\{}~^±&%$#_]", lambda m: SPECIAL[m.group()], " ".join(text.split()))
    return "{}" + flat if flat.startswith("[") else flat
