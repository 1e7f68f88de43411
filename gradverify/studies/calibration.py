"""``gradverify calibration``: do finite differences make errors as large as they say, and not much smaller ones.

Asked are (function, point, direction) triples whose derivatives are known in closed form. The error that is claimed
must cover the true one, and should not be much larger. "Does not know" is neither right nor wrong; it is
counted by itself.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gradverify import options
from gradverify.errors import AdapterError
from gradverify.oracles._ladder import Slopes
from gradverify.oracles.finite_differences import FiniteDifferences
from gradverify.report import Report
from gradverify.sampling import Forward, quiet
from gradverify.studies import _calibration_text as text
from gradverify.studies import _tables
from gradverify.studies._calibration_families import FAMILIES, FIELDS, Family, Field
from gradverify.studies._progress import watched
from gradverify.types import Array, Case, Finding, Out, Pullback, Verdict, rng_for

PROMISED = 0.999  #: part of the claimed errors that cover the true one
RATIO = 100.0  #: median of claimed / true at most
ALONE, TOGETHER, DIRECTIONS = 180, 64, 120  #: triples per family: one number at a time, in arrays, along directions
SHARPEST = (
    1e-11  #: relative error asked for where the ratio is measured: a ladder that may stop early claims what it saw
)
WIDTH = 16  #: entries of an array
#: Truths are rounded to float64 before they are compared: an error below half a rounding is half a rounding.
HALF = np.finfo(float).eps / 2

ALONE_SAID, TOGETHER_SAID, DIRECTION_SAID = "alone", f"in arrays of {WIDTH}", "along a direction"


@dataclass(frozen=True, kw_only=True)
class Triple:
    """One derivative: what it is, what was said, and what it cost.

    lower, upper        the interval that was claimed: value -+ error, or that of the one-sided derivatives
    truth, truth_right  the derivative; at a kink the one from the left and the one from the right
    """

    family: str
    kind: str
    asked: str
    x: float
    truth: float
    truth_right: float
    value: float
    error: float
    lower: float
    upper: float
    kink: bool
    samples: float

    @property
    def known(self) -> bool:
        """Whether anything was claimed."""
        return bool(np.isfinite(self.error))

    @property
    def covered(self) -> bool:
        """Whether what was claimed holds; of what is not known nothing is claimed."""
        low, high = min(self.truth, self.truth_right), max(self.truth, self.truth_right)
        slack = HALF * max(abs(low), abs(high))
        return bool(not self.known or (self.lower - slack <= low and high <= self.upper + slack))

    @property
    def ratio(self) -> float:
        """Claimed error over the true one; NaN at a kink, where an interval was claimed, and where both are zero."""
        true = max(abs(self.value - self.truth), HALF * abs(self.truth))
        return self.error / true if self.known and not self.kink and true > 0 else float("nan")


class _Elementwise:
    """The forward of a family: one output per entry."""

    name = "closed form"
    traits = frozenset[str]()

    def __init__(self, f: Any, parameters: Sequence[Array]) -> None:
        self.f, self.parameters = f, parameters

    def evaluate(self, case: Case) -> Out:
        return np.asarray(self.f(case.primals["x"], *self.parameters))

    def vjp(self, case: Case) -> tuple[Out, Pullback]:
        raise AdapterError("a closed form is only a forward")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many triples, and where the table goes."""
    parser.add_argument(
        "--part", type=float, default=1.0, metavar="P", help="ask this part of the triples (default: 1)"
    )
    parser.add_argument("--out", default="reports", metavar="DIR", help="where to write (default: reports/)")
    parser.add_argument("--seed", type=options.seed, default=0, metavar="N", help="the address of all randomness")


def main(args: argparse.Namespace) -> int:
    """Write calibration.md, .csv and .jsonl; status 1 when a promise is broken."""
    started = time.perf_counter()
    out = _tables.folder(args.out)
    found = triples(part=args.part, seed=args.seed)
    seconds = time.perf_counter() - started
    words = ["gradverify", "calibration", *(["--part", f"{args.part:g}"] if args.part != 1 else [])]
    head = _tables.header(shlex.join([*words, "--seed", str(args.seed)]), args.seed)
    rows = table(found)
    report = Report.of([finding(found, args.seed), *(_row_finding(r) for r in rows)], seconds=seconds, **head)
    report.save(out / "calibration.jsonl")
    _tables.write_csv(out / "calibration.csv", rows, head)
    missed = [asdict(t) for t in found if not t.covered]
    said = f"{summary(found)}. Promised: at least {100 * PROMISED:g} % and at most {RATIO:g}. {seconds:.0f} s."
    _tables.write_markdown(out / "calibration.md", text.markdown(said, rows, missed), head)
    sys.stdout.writelines(f"{line}\n" for line in [summary(found), *_tables.plain_table(rows, text.COLUMNS)])
    sys.stdout.write(f"report: {out / 'calibration.md'} (and .csv, .jsonl)\n")
    return 0 if report.verdict == Verdict.PASS else 1


def triples(*, part: float = 1.0, seed: int = 0) -> list[Triple]:
    """Every family at random points: alone, as entries of arrays, and fields along directions.

    part  of the full number of triples, at least one of each
    """
    found: list[Triple] = []
    for family in watched(FAMILIES, lambda f: f.name):
        rng = rng_for(seed, "calibration", family.name)
        for _ in range(max(1, round(part * ALONE))):
            found += _entries(family, rng, 1)
        for _ in range(max(1, round(part * TOGETHER / WIDTH))):
            found += _entries(family, rng, WIDTH)
    for field in watched(FIELDS, lambda f: f.name):
        rng = rng_for(seed, "calibration", field.name)
        found += [_along(field, rng) for _ in range(max(1, round(part * DIRECTIONS)))]
    return found


def _exact(f: Any, *args: Array) -> Array:
    """In extended precision, so that the closed form's own rounding is none of what is compared."""
    return np.asarray(f(*(np.asarray(a, np.longdouble) for a in args)), dtype=float)


def _entries(family: Family, rng: np.random.Generator, n: int) -> Iterator[Triple]:
    """One array of ``n`` entries whose outputs are summed; alone the upstream is 1, together it is drawn."""
    x, *parameters = (np.asarray(a, float) for a in family.draw(rng, n))
    u = np.ones(1) if n == 1 else rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n)
    with quiet():
        left = u * _exact(family.df, x, *parameters)
        right = u * _exact(family.right, x, *parameters) if family.right else left
    forward = Forward(_Elementwise(family.f, parameters), Case(name=family.name, primals={"x": x}, upstream=u))
    # together as the consultation asks: relative to the largest entry
    accept = (SHARPEST if n == 1 else 1e-8) * float(np.max(np.abs(left), initial=0.0))
    slopes = FiniteDifferences().entries(forward, "x", np.arange(n), accept=accept)
    asked = ALONE_SAID if n == 1 else TOGETHER_SAID
    for i in range(n):
        yield _triple(family.name, family.kind, asked, slopes, i, x=x[i], truth=(left[i], right[i]),
                      samples=forward.evaluations / n)  # fmt: skip


def _along(field: Field, rng: np.random.Generator) -> Triple:
    """The derivative along +-1 of the natural scale of every entry, as probes ask."""
    x = field.draw(rng)
    u = rng.standard_normal(np.shape(field.f(x)))
    forward = Forward(_Elementwise(field.f, ()), Case(name=field.name, primals={"x": x}, upstream=u))
    v = FiniteDifferences().scales(forward, "x") * rng.choice([-1.0, 1.0], x.shape)
    parts = _exact(field.df, x, u) * v
    size = float(np.sqrt(np.sum(parts**2)))
    slopes = FiniteDifferences().along(forward, {"x": v}, accept=SHARPEST * size)
    truth = float(np.sum(parts.astype(np.longdouble)))
    return _triple(field.name, "direction", DIRECTION_SAID, slopes, 0, x=x[0], truth=(truth, truth),
                   samples=forward.evaluations)  # fmt: skip


def _triple(
    family: str, kind: str, asked: str, s: Slopes, i: int, *, x: float, truth: tuple[float, float], samples: float
) -> Triple:
    value, error, kink = float(s.value[i]), float(s.error[i]), bool(s.kink[i])
    lower, upper = (float(s.lower[i]), float(s.upper[i])) if kink else (value - error, value + error)
    return Triple(family=family, kind=kind, asked=asked, x=float(x), truth=float(truth[0]), truth_right=float(truth[1]),
                  value=value, error=error, lower=lower, upper=upper, kink=kink, samples=samples)  # fmt: skip


def table(found: Sequence[Triple]) -> list[dict[str, Any]]:
    """A row per family and way of asking; see ``_calibration_text.COLUMNS``."""
    groups: dict[tuple[str, str, str], list[Triple]] = {}
    for t in found:
        groups.setdefault((t.family, t.kind, t.asked), []).append(t)
    rows = []
    for (family, kind, asked), group in groups.items():
        known = [t for t in group if t.known]
        relative = [t.error / abs(t.truth) for t in known if not t.kink and t.truth != 0]
        rows.append({
            "family": family, "kind": kind, "asked": asked, "n": len(group), "covered": coverage(group),
            "missed": sum(not t.covered for t in group), "unknown": len(group) - len(known),
            "kinks": sum(t.kink for t in group), "claimed": _median(relative),
            "ratio": _median([t.ratio for t in group]),
            "samples": float(np.median([t.samples for t in group])),
        })  # fmt: skip
    return rows


def coverage(found: Sequence[Triple]) -> float | None:
    """Part of the claims that hold, of those that were made; None when none was."""
    known = [t for t in found if t.known]
    return sum(t.covered for t in known) / len(known) if known else None


def median_ratio(found: Sequence[Triple]) -> float | None:
    """Median of claimed / true over what is smooth and was asked for as exactly as possible."""
    return _median([t.ratio for t in found if t.asked != TOGETHER_SAID])


def _median(values: Sequence[float]) -> float | None:
    finite = [v for v in values if np.isfinite(v)]
    return float(np.median(finite)) if finite else None


def summary(found: Sequence[Triple]) -> str:
    """One sentence."""
    unknown = sum(not t.known for t in found)
    return (
        f"{len(found)} triples: the claimed error covers the true one in {100 * (coverage(found) or 0):.2f} % of "
        f"{len(found) - unknown} claims, {unknown} times it does not know; median claimed / true is "
        f"{median_ratio(found) or float('nan'):.0f}"
    )


def finding(found: Sequence[Triple], seed: int) -> Finding:
    """The two promises as one finding."""
    part, ratio = coverage(found) or 0.0, median_ratio(found) or float("inf")
    kept = part >= PROMISED and ratio <= RATIO
    return Finding(
        adapter="closed forms", case="all", check="calibration", of="claimed errors", oracle="finite-differences",
        verdict=Verdict.PASS if kept else Verdict.FAIL, n_compared=len(found),
        n_wrong=sum(not t.covered for t in found),
        gap=1 - part, budget=1 - PROMISED, why="" if kept else summary(found),
        repeat=f"gradverify calibration --seed {seed}", facts={"median_ratio": ratio},
    )  # fmt: skip


def _row_finding(row: Mapping[str, Any]) -> Finding:
    """A row for the canonical file; a few misses of one family break no promise and are said as a note."""
    return Finding(
        adapter=row["asked"], case=row["family"], check="calibration", of=row["kind"], oracle="finite-differences",
        verdict=Verdict.PASS if row["covered"] is not None else Verdict.INCONCLUSIVE,
        why="" if row["covered"] is not None else "nothing was claimed", n_compared=row["n"], n_wrong=row["missed"],
        resolution=row["claimed"], notes=(f"{row['missed']} claims do not hold",) if row["missed"] else (),
        facts=dict(row),
    )  # fmt: skip
