"""``gradverify power``: which planted bugs are seen, by which oracle or check, at which size, and how small.

Three tables: bugs of the gradient by oracle and size; bugs of the contract by check; the smallest error that is seen.
Nothing here is fitted or chosen: every cell is a bug planted into a right implementation and put to the judge.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gradverify import options, registry
from gradverify.bench import LiveBench
from gradverify.errors import AdapterError, Unsupported
from gradverify.judge import judge
from gradverify.mutants._tools import bent_pullback
from gradverify.runner import VALUE
from gradverify.sampling import quiet
from gradverify.studies import _tables
from gradverify.studies._power_scenes import SCENES, SIZES, block
from gradverify.studies._progress import watched
from gradverify.types import Adapter, Case, Gradients, Verdict, rng_for

#: Those that can settle the gradient of a smooth forward by themselves.
ORACLES = ("torch-autograd", "complex-step", "finite-differences", "reference")

#: Relative errors planted to find the smallest that is seen.
LADDER = tuple(10.0**-k for k in range(1, 15))


def _all_entries(g: np.ndarray, eps: float) -> np.ndarray:
    """Every entry is off by ``eps`` of itself."""
    return g * (1 + eps)


def _one_entry(g: np.ndarray, eps: float) -> np.ndarray:
    """The entry of median size is off by ``eps`` of the largest."""
    new = np.array(g)
    at = np.argsort(np.abs(g), axis=None)[g.size // 2]
    new.flat[at] += eps * np.max(np.abs(g))
    return new


KINDS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {"all entries": _all_entries, "one entry": _one_entry}

CONTRACT = {
    "mutant": "bug",
    "scene": "scene",
    "named": "check that must see it",
    "caught": "caught",
    "seen_by": "seen by",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which sizes, and where the table goes."""
    known = options.one_of("size", SIZES)
    parser.add_argument("--sizes", type=lambda t: [known(s) for s in t.split(",")], default=list(SIZES), metavar="A,B",
                        help=f"of {','.join(SIZES)} (default: all)")  # fmt: skip
    parser.add_argument("--out", default="reports", metavar="DIR", help="where to write (default: reports/)")
    parser.add_argument("--seed", type=options.seed, default=0, metavar="N", help="the address of all randomness")


def main(args: argparse.Namespace) -> int:
    """Write power.csv and power.md; status 1 when a bug escapes the check that must see it."""
    out = _tables.folder(args.out)
    command = shlex.join(["gradverify", "power", "--sizes", ",".join(args.sizes), "--seed", str(args.seed)])
    gradient = gradient_table(args.sizes, args.seed)
    contract = contract_table(args.seed)
    smallest = smallest_table([s for s in args.sizes if s not in ("tiny", "square")], args.seed)
    head = _tables.header(command, args.seed)
    _tables.write_csv(out / "power.csv", list(tidy(gradient, contract, smallest)), head)
    _tables.write_markdown(out / "power.md", _text(gradient, contract, smallest, args.sizes), head)
    sys.stdout.writelines(f"{line}\n" for line in _answer(gradient, contract, args.sizes))
    sys.stdout.write(f"report: {out / 'power.md'} (and .csv)\n")
    return int(not all(r["caught"] for r in contract))


def gradient_table(sizes: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """A row per bug of the gradient and oracle; per size "seen", "missed", "cannot tell", "same" or "declined".

    same: the bug changes nothing here (a transposed scalar). cannot tell: the oracle is not sure enough to judge.
    """
    mutants = [e for e in registry.mutant.entries() if e.meta["kind"] == "gradient"]
    rows = []
    for entry in watched(mutants, lambda e: e.name):
        for oracle in ORACLES:
            cells = {size: _seen(entry.item, oracle, size, seed) for size in sizes}
            rows.append({"mutant": entry.name, "oracle": oracle, **cells})
    return rows


def _seen(mutant: Any, oracle: str, size: str, seed: int) -> str:
    """What the judge says of the bug at a residual block of this size with this oracle alone."""
    adapter, case = block(size, seed)
    changed = [False]

    def bend(pullback: Any, upstream: Any) -> Gradients:
        right: Gradients = pullback(upstream)
        new = mutant(case, upstream, dict(right))
        if new is None:
            return right
        changed[0] |= any(_differs(new[k], right[k]) for k in right)
        return dict(new)

    verdict = judged(bent_pullback(adapter, bend), case, oracle, seed)
    return (
        {"fail": "seen", "pass": "missed", "inconclusive": "cannot tell"}.get(verdict, verdict)
        if changed[0]
        else "same"
    )


def _differs(new: Any, old: Any) -> bool:
    return new is not old and (np.shape(new) != np.shape(old) or not np.array_equal(new, old))


def judged(adapter: Adapter, case: Case, oracle: str, seed: int) -> str:
    """The worst verdict on the gradients at ``case`` with this oracle alone; "declined" when it does not answer."""
    bench = LiveBench(adapter, case, level="quick", seed=seed, oracles=(oracle,))
    try:
        with quiet():
            if any(judge(m).verdict is Verdict.FAIL for m in registry.check["shape"].item(bench)):
                return "fail"  # what the value check requires; it leaves such gradients out
            verdicts = {judge(m).verdict for m in registry.check[VALUE].item(bench) if _from(m, oracle)}
    except AdapterError:
        return "fail"
    except Exception:  # noqa: BLE001  (a fault of the check itself is a cell of the table, not the end of it)
        return "error"
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS):
        if verdict in verdicts:
            return verdict.value
    return "declined"


def _from(m: Any, oracle: str) -> bool:
    return oracle in m.oracle and m.of != "value"


def contract_table(seed: int = 0) -> list[dict[str, Any]]:
    """A row per bug of the contract: the scene where it shows, whether its own check sees it, which others do."""
    mutants = [e for e in registry.mutant.entries() if e.meta["kind"] == "contract"]
    return [_contract_row(entry, seed) for entry in watched(mutants, lambda e: e.name)]


def _contract_row(entry: Any, seed: int) -> dict[str, Any]:
    named = entry.meta["caught_by"]
    row = {"mutant": entry.name, "scene": "", "named": named, "caught": False, "seen_by": ""}
    for scene in SCENES:
        adapter, case = scene(rng_for(seed, "power", "scene"))
        seen = [c for c in registry.check if _fails(c, entry.item(adapter), case, seed)]
        if seen and (not row["seen_by"] or named in seen):
            row |= {"scene": case.name, "caught": named in seen, "seen_by": ", ".join(seen)}
        if named in seen:
            break
    return row


def _fails(check: str, adapter: Adapter, case: Case, seed: int) -> bool:
    try:
        bench = LiveBench(adapter, case, level="quick", seed=seed)
        with quiet():
            if registry.check[check].meta.get("elsewhere"):
                bench.settled()  # what is judged at another point is judged only where this one was
            return any(judge(m).verdict is Verdict.FAIL for m in registry.check[check].item(bench))
    except Unsupported:
        return False
    except Exception:  # noqa: BLE001  (a planted bug may raise anything where right code does not: then it shows)
        return True


def smallest_table(
    sizes: Sequence[str], seed: int = 0, dtypes: Sequence[str] = ("float64", "float32")
) -> list[dict[str, Any]]:
    """A row per oracle, dtype, size and kind of error: the smallest planted relative error that is still seen."""
    jobs = [(o, d, s, k) for o in ORACLES for d in dtypes for s in sizes for k in KINDS]
    rows = []
    for oracle, dtype, size, kind in watched(jobs, " ".join):
        adapter, case = block(size, seed)
        case = case.at({k: v.astype(dtype) for k, v in case.primals.items()})
        found = _smallest(adapter, case, oracle, KINDS[kind], seed)
        rows.append({"oracle": oracle, "dtype": dtype, "size": size, "kind": kind, "smallest": found})
    return rows


def _smallest(adapter: Adapter, case: Case, oracle: str, bend: Any, seed: int) -> float:
    """By halving the ladder: what is seen is taken to be seen when it is larger. NaN: not even a tenth is."""
    low, high = -1, len(LADDER)
    while high - low > 1:
        middle = (low + high) // 2

        def change(pullback: Any, upstream: Any, eps: float = LADDER[middle]) -> Gradients:
            return {
                k: None if g is None else bend(np.asarray(g, dtype=float), eps) for k, g in pullback(upstream).items()
            }

        seen = judged(bent_pullback(adapter, change), case, oracle, seed) == "fail"
        low, high = (middle, high) if seen else (low, middle)
    return LADDER[low] if low >= 0 else float("nan")


def tidy(gradient: Sequence[Any], contract: Sequence[Any], smallest: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """All three as rows of one table: table, bug, by, size, dtype, found."""
    for r in gradient:
        for size, cell in r.items():
            if size in SIZES:
                yield _tidy("gradient", r["mutant"], r["oracle"], size, "float64", cell)
    for r in contract:
        yield _tidy("contract", r["mutant"], r["named"], r["scene"], "float64", "seen" if r["caught"] else "missed")
    for r in smallest:
        yield _tidy("smallest", r["kind"], r["oracle"], r["size"], r["dtype"], f"{r['smallest']:.0e}")


def _tidy(table: str, bug: str, by: str, size: str, dtype: str, found: str) -> dict[str, Any]:
    return {"table": table, "bug": bug, "by": by, "size": size, "dtype": dtype, "found": found}


def _answer(gradient: Sequence[Any], contract: Sequence[Any], sizes: Sequence[str]) -> Iterator[str]:
    for size in sizes:
        cells = [r[size] for r in gradient if r[size] not in ("same", "declined")]
        yield f"{size}: {cells.count('seen')} of {len(cells)} gradient bugs seen, {cells.count('missed')} missed"
    missed = [r["mutant"] for r in contract if not r["caught"]]
    left = f"; missed: {', '.join(missed)}" if missed else ""
    caught = len(contract) - len(missed)
    yield f"contract: {caught} of {len(contract)} bugs caught by the check that must see them{left}"


def _by_mutant(gradient: Sequence[Any], sizes: Sequence[str]) -> list[dict[str, Any]]:
    """A row per bug: per size "seen" when every oracle that answers sees it, else who does not."""
    rows = []
    for mutant in dict.fromkeys(r["mutant"] for r in gradient):
        own = [r for r in gradient if r["mutant"] == mutant]
        row = {"mutant": mutant}
        for size in sizes:
            answers = {r["oracle"]: r[size] for r in own if r[size] not in ("same", "declined")}
            blind = [f"{found} by {oracle}" for oracle, found in answers.items() if found != "seen"]
            row[size] = ", ".join(blind) or ("seen" if answers else "same")
        rows.append(row)
    return rows


def _by_size(smallest: Sequence[Any]) -> list[dict[str, Any]]:
    """A row per oracle, dtype and kind of error; a column per size."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for r in smallest:
        name = (r["oracle"], r["dtype"], r["kind"])
        row = rows.setdefault(name, {"oracle": r["oracle"], "dtype": r["dtype"], "kind": r["kind"]})
        row[r["size"]] = "does not answer" if np.isnan(r["smallest"]) else f"{r['smallest']:.0e}"
    return list(rows.values())


def _text(
    gradient: Sequence[Any], contract: Sequence[Any], smallest: Sequence[Any], sizes: Sequence[str]
) -> Iterator[str]:
    yield "# What the checks can see"
    yield ""
    yield from (f"- {line}" for line in _answer(gradient, contract, sizes))
    yield ""
    yield "## Bugs of the gradient, by size"
    yield ""
    yield f"Planted into a residual block and put to each oracle alone: {', '.join(ORACLES)}."
    yield "Sizes (batch, width, hidden): " + "; ".join(f"{k} {v}" for k, v in SIZES.items() if k in sizes) + "."
    yield "seen: by every oracle that answers; same: the bug changes nothing at this size. The CSV has every oracle."
    yield ""
    yield from _tables.markdown_table(_by_mutant(gradient, sizes), {"mutant": "bug", **{size: size for size in sizes}})
    yield ""
    yield "## Bugs of the contract, by check"
    yield ""
    yield from _tables.markdown_table(contract, CONTRACT)
    if smallest:
        yield ""
        yield "## The smallest error seen"
        yield ""
        yield "Relative to each entry (all entries), or to the largest one (one entry, of median size); powers of ten."
        yield ""
        rows = _by_size(smallest)
        yield from _tables.markdown_table(rows, {"kind": "error in", **{k: k for k in rows[0] if k != "kind"}})
