"""The tables as files: jsonl with a header, csv, and markdown by part; each says the command, versions and seed."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("gradverify", "numpy", "torch", "jax", "autograd", "numdifftools", "scipy", "pytest")


def write(rows: Sequence[dict[str, Any]], out: Path, *, seed: int, command: str) -> None:
    """``benchmarks.jsonl``, ``.csv`` and ``.md`` under ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    header = {"command": command, "seed": seed, "threads": 1, "python": platform.python_version(),
              "machine": f"{platform.machine()}, {_processor()}",
              "versions": {p: _version(p) for p in PACKAGES}}  # fmt: skip
    (out / "benchmarks.jsonl").write_text("".join(json.dumps(r) + "\n" for r in [{"header": header}, *rows]))
    columns = list(dict.fromkeys(k for r in rows for k in r))
    said = "; ".join(f"{k} {v}" for k, v in header["versions"].items())
    with (out / "benchmarks.csv").open("w", newline="") as file:
        file.write(f"# {command}; seed {seed}; one thread; {said}\n")
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    lines = [
        "# Benchmarks",
        "",
        f"`{command}`, seed {seed}, one thread, {header['machine']}, Python {header['python']}.",
        f"Versions: {said}.",
        "",
        "Times are processor time. *in forwards*: the time over that of one forward measured beside it;",
        "*forwards*: how often the forward was called; *peak*: what NumPy allocated at once.",
    ]
    for part in dict.fromkeys(r["part"] for r in rows):
        lines += ["", f"## {part}", "", *_table([r for r in rows if r["part"] == part])]
    (out / "benchmarks.md").write_text("\n".join(lines) + "\n")


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = [k for k in dict.fromkeys(k for r in rows for k in r) if k not in ("part", "note")]
    columns += ["note"] if any(r.get("note") for r in rows) else []
    lines = ["| " + " | ".join(c.replace("_", " ") for c in columns) + " |", "|" + " --- |" * len(columns)]
    return lines + ["| " + " | ".join(_cell(r.get(c)) for c in columns) + " |" for r in rows]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if 100 <= abs(value) < 1e15 else f"{value:.3g}"
    return str(value).replace("|", "\\|")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()
