"""``gradverify report``: how many digits of a gradient are right, adapter x op x dtype.

For every op at every point of the catalogue (but those at a kink) the implementation runs in its own dtype; the truth
is the reference in extended precision at the very same rounded inputs (for a user's subject: the subject itself in
float64, which the verdict of its float64 row vouches for). The verdict is that of ``gv.verify`` at these points.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradverify import options
from gradverify.api import verify
from gradverify.cases import ops as catalogue_ops
from gradverify.errors import AdapterError, UsageError, need
from gradverify.inputs import arrays_of, plain_constants, rounded
from gradverify.report import Report
from gradverify.sampling import quiet
from gradverify.studies import _accuracy_text as text
from gradverify.studies import _tables
from gradverify.studies._digits import EPS, Error, columns, errors
from gradverify.studies._progress import watched
from gradverify.studies._subjects import ADAPTERS, Item, catalogue, from_files
from gradverify.types import Case, Finding, Verdict, rng_for

DTYPES = ("float64", "float32", "bfloat16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is looked at, in which dtypes, and where the table goes."""
    parser.add_argument("paths", nargs="*", metavar="FILE[:NAME]", help="your subjects; default: the whole catalogue")
    parser.add_argument("--ops", type=_names, metavar="A,B", help="only these ops of the catalogue")
    parser.add_argument(
        "--adapters", type=_names, metavar="A,B", help=f"of {','.join(ADAPTERS)} (default: what is installed)"
    )
    parser.add_argument(
        "--dtypes", type=_names, metavar="A,B", help=f"of {','.join(EPS)} (default: {','.join(DTYPES)})"
    )
    parser.add_argument("--device", type=options.device, default="cpu", help="where torch runs (default: cpu)")
    parser.add_argument("--out", default="reports", metavar="DIR", help="where to write (default: reports/)")
    parser.add_argument("--seed", type=options.seed, default=0, metavar="N", help="the address of all randomness")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def main(args: argparse.Namespace) -> int:
    """Write accuracy.jsonl, .csv and .md; the exit status is that of ``gradverify check``."""
    started = time.perf_counter()
    out = _tables.folder(args.out)
    rows = table(
        args.paths, adapters=args.adapters, ops=args.ops, dtypes=args.dtypes, device=args.device, seed=args.seed
    )
    seconds = time.perf_counter() - started
    command = command_of(args)
    head = _tables.header(command, args.seed, device=args.device)
    report = Report.of([finding(r, args.seed) for r in rows], seconds=seconds, **head)
    report.save(out / "accuracy.jsonl")
    _tables.write_csv(out / "accuracy.csv", rows, head)
    _tables.write_markdown(out / "accuracy.md", text.markdown(rows, seconds), head)
    sys.stdout.writelines(f"{line}\n" for line in text.terminal(rows, seconds))
    sys.stdout.write(f"report: {out / 'accuracy.md'} (and .csv, .jsonl)\n")
    if report.verdict in ("fail", "error"):
        return 1 if report.verdict == "fail" else 3
    return 5 if report.nothing_judged else 0


def command_of(args: argparse.Namespace) -> str:
    """The command that makes the same table."""
    words = ["gradverify", "report", *args.paths]
    for name in ("ops", "adapters", "dtypes"):
        if getattr(args, name):
            words += [f"--{name}", ",".join(getattr(args, name))]
    words += ["--device", args.device] if args.device != "cpu" else []
    return shlex.join([*words, "--seed", str(args.seed)])


def table(
    paths: Sequence[str] = (),
    *,
    adapters: Sequence[str] | None = None,
    ops: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    device: str = "cpu",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row per adapter, op and dtype.

    paths  files with subjects; empty: the catalogue, ``adapters`` of "reference" and "torch" at its ``ops``
    A row has adapter, op, dtype, device, cases, entries, max_relative_error (of the largest entry), ulps (the same in
    units of eps), max_entrywise_error, digits, promised_digits, flagged (fewer digits than promised), worst, verdict,
    why, seconds. Raises UsageError for unknown names, MissingExtra for torch that is asked for and missing.
    """
    wanted = [options_of("dtype", d, EPS) for d in dtypes or DTYPES]
    items = from_files(paths, seed) if paths else catalogue(*_chosen(adapters, ops))
    if paths and (adapters or ops):
        raise UsageError("--adapters and --ops choose from the catalogue; leave them out when files are named")
    if device.startswith("cuda"):
        _needs_cuda(device)
        items = [i for i in items if i.adapter != "reference"]
    jobs = [(item, d) for item in items for d in wanted if d in item.dtypes]
    if not jobs:
        raise UsageError(f"nothing to measure: no implementation computes in {', '.join(wanted)} on {device}")
    return [row(item, d, device, seed) for item, d in watched(jobs, lambda j: f"{j[0].adapter} {j[0].op} {j[1]}")]


def options_of(what: str, name: str, known: Any) -> str:
    """``name`` if it is known. Raises UsageError naming the nearest."""
    if name in known:
        return name
    raise UsageError(f"no {what} is called {name!r}{options.nearest(name, known)} Known: {', '.join(known)}")


def _chosen(adapters: Sequence[str] | None, ops: Sequence[str] | None) -> tuple[list[str], list[str]]:
    known = catalogue_ops()
    names = [options_of("op", n, known) for n in ops or known]
    if adapters is None:
        import importlib.util

        return [a for a in ADAPTERS if a != "torch" or importlib.util.find_spec("torch")], names
    return [options_of("adapter", a, ADAPTERS) for a in adapters], names


def _needs_cuda(device: str) -> None:
    torch = need("torch", "torch", f"--device {device}")
    if not torch.cuda.is_available():
        raise UsageError(
            f"--device {device}: torch {torch.__version__} sees no CUDA device here; leave --device out for the CPU"
        )


def row(item: Item, dtype: str, device: str, seed: int) -> dict[str, Any]:
    """One implementation of one op in one dtype, over all its points."""
    started = time.perf_counter()
    found: list[Error] = []
    verdicts: list[tuple[Verdict, str]] = []
    for case in item.cases:
        label = case.name.removeprefix(f"{item.op}/")
        try:
            at, adapter = _rounded(item, case, dtype, device, seed), item.make(dtype, device)
            with quiet():
                _, pullback = adapter.vjp(at)
                found += errors(label, pullback(np.array(at.upstream)), item.truth(at), dtype)
            verdicts.append(_verdict(item, at, dtype, device, seed))
        except AdapterError as error:
            verdicts.append((Verdict.ERROR, f"{label}: {error}"))
    verdict, why = _worst(verdicts)
    if not found:
        found = [
            Error(of="", relative=np.nan, entrywise=np.nan, entries=0, got=np.nan, want=np.nan, gap=np.nan, index=())
        ]
    on = device if item.adapter != "reference" else "cpu"
    return {
        "adapter": item.adapter, "op": item.op, "dtype": dtype, "device": on, "cases": len(item.cases),
        **columns(found, dtype, item.roundings), "verdict": verdict.value, "why": why,
        "seconds": round(time.perf_counter() - started, 3),
    }  # fmt: skip


def _rounded(item: Item, case: Case, dtype: str, device: str, seed: int) -> Case:
    """The case at inputs of ``dtype``, with an upstream that has no entry near zero."""
    at = replace(case, primals=arrays_of(case.primals, dtype), constants=plain_constants(case.constants, dtype, {}))
    with quiet():
        out, _ = item.make(dtype, device).vjp(at)
    if isinstance(out, Mapping):
        raise AdapterError("has several outputs; the accuracy table takes one")
    u = rng_for(seed, case.name, "upstream").standard_normal(np.shape(out))
    no_choice = frozenset(getattr(item.make(dtype, device), "traits", ())) & {"no-upstream", "upstream-optional"}
    u = np.ones(np.shape(out)) if no_choice and np.size(out) == 1 else np.sign(u) * (0.25 + np.abs(u))
    return replace(at, upstream=rounded(np.asarray(u), dtype))


def _verdict(item: Item, at: Case, dtype: str, device: str, seed: int) -> tuple[Verdict, str]:
    """What ``gv.verify`` says of the gradients at this point."""
    report = verify(
        item.make(dtype, device), at.primals, constants=at.constants, upstream=at.upstream, dtype=dtype, seed=seed,
        checks=["pullback-matches-oracle"], level="quick", name=at.name,
    )  # fmt: skip
    if report.verdict == Verdict.PASS:
        return Verdict.PASS, ""
    telling = next((f for f in report.findings if f.verdict == report.verdict), None)
    why = f"{telling.of}: {telling.why}" if telling else "nothing was judged"
    return Verdict(report.verdict), f"{at.name}: {why}"


def _worst(verdicts: Sequence[tuple[Verdict, str]]) -> tuple[Verdict, str]:
    order = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS)
    return min(verdicts, key=lambda v: order.index(v[0]))


def finding(r: Mapping[str, Any], seed: int) -> Finding:
    """A row as a finding, so that ``gradverify render`` and ``compare`` read accuracy.jsonl.

    Its resolution is the largest relative error, at least one rounding: ``compare`` reports half a digit more.
    """
    command = ["gradverify", "report", "--ops", r["op"], "--adapters", r["adapter"], "--dtypes", r["dtype"]]
    if r["adapter"] not in ADAPTERS:
        command = ["gradverify", "report", r["op"].replace(":", ".py:"), "--dtypes", r["dtype"]]
    verdict = Verdict(r["verdict"])
    return Finding(
        adapter=f"{r['adapter']} {r['dtype']}" + ("" if r["device"] == "cpu" else f" {r['device']}"),
        case=r["op"],
        check="gradient-accuracy",
        of=r["worst"],
        verdict=verdict,
        oracle="reference",
        n_compared=r["entries"],
        gap=r["max_relative_error"],
        budget=EPS[r["dtype"]] * 10 ** -(r["promised_digits"] + np.log10(EPS[r["dtype"]])),
        resolution=max(r["max_relative_error"], EPS[r["dtype"]]),
        why=r["why"],
        notes=(f"{r['digits']} digits, {r['promised_digits']} promised",) if r["flagged"] else (),
        repeat=shlex.join([*command, "--seed", str(seed)]),
        seconds=r["seconds"],
        facts=dict(r),
    )
