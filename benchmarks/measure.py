"""One row of a table: what a tool took for a work, in seconds of this thread and in forwards of the same minute."""

from __future__ import annotations

import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.tools import Tool
from benchmarks.works import Work

ENOUGH = 0.15  #: seconds after which a measurement is not repeated
LONG = 3.0  #: seconds from which a tool is asked once only; else the least of three


def seconds(call: Callable[[], Any]) -> float:
    """Least processor time of a few calls."""
    best, spent = float("inf"), 0.0
    while spent < ENOUGH:
        start = time.process_time()
        call()
        took = time.process_time() - start
        best, spent = min(best, took), spent + max(took, 1e-4)
    return best


@dataclass
class Table:
    """Rows of plain values, printed as they come."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, part: str, work: str, tool: str, **values: Any) -> dict[str, Any]:
        row = {"part": part, "work": work, "tool": tool, **values}
        self.rows.append(row)
        print("  ".join(f"{k}={_short(v)}" for k, v in row.items()), flush=True)
        return row

    def run(
        self,
        part: str,
        work: Work,
        tool: str,
        make: Callable[[], Tool],
        *,
        memory: bool = False,
        scale: float = 1.0,
        note: str = "",
    ) -> dict[str, Any]:
        """Ask a tool about a work. ``scale``: the work is this part of the real one, and the row is extrapolated."""
        try:
            ask = make()
        except ImportError as error:
            return self.add(part, work.name, tool, note=f"not installed: {error}")
        one = seconds(lambda: work.value(**work.primals))
        work.calls[:] = [0, 0]
        start = time.process_time()
        try:
            said = ask(work)
        except Exception as error:  # noqa: BLE001  (a peer may fail in its own way: the row says how)
            return self.add(part, work.name, tool, note=f"{type(error).__name__}: {str(error).splitlines()[0][:120]}")
        took = time.process_time() - start
        calls = work.calls[0]
        if took < LONG:
            took = min(took, *(seconds(lambda: ask(work)) for _ in range(2)))
        one = min(one, seconds(lambda: work.value(**work.primals)))
        more: dict[str, Any] = {}
        if memory:
            tracemalloc.start()
            ask(work)
            more["peak_mb"] = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
        return self.add(
            part, work.name, tool, seconds=took * scale, in_forwards=took * scale / one, forwards=int(calls * scale),
            says={True: "right", False: "wrong", None: "cannot say"}[said], note=note, **more,
        )  # fmt: skip


def import_seconds(module: str) -> float | None:
    """Processor time of ``import module`` in a fresh interpreter, less that of an empty one; None if it is missing."""
    code = (
        f"import time; t = time.process_time()\n"
        f"try:\n import {module}\nexcept ImportError:\n print('missing')\n"
        f"else:\n print(time.process_time() - t)"
    )
    found = [subprocess.check_output([sys.executable, "-c", code], text=True).strip() for _ in range(3)]
    return None if "missing" in found else min(map(float, found))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
