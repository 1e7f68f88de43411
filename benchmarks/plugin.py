"""What the pytest plugin adds to a run that does not use it: two kinds of runs, interleaved."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROUNDS = 12


def overhead() -> dict[str, Any]:
    """Median processor seconds of a bare pytest run and of one with the plugin loaded."""
    with tempfile.TemporaryDirectory() as folder:
        for i in range(40):
            lines = [f"def test_{j}():\n    assert {j} + 1 > {j}\n" for j in range(25)]
            Path(folder, f"test_{i}.py").write_text("\n".join(lines))
        took: dict[str, list[float]] = {"bare": [], "with": []}
        for round_ in range(ROUNDS):
            kinds = ("bare", "with") if round_ % 2 else ("with", "bare")
            for kind in kinds:
                plugin = ["-p", "no:gradverify"] if kind == "bare" else []
                took[kind].append(_seconds([*plugin, "-p", "no:cacheprovider", "-q", folder]))
    bare, used = (sorted(took[k])[len(took[k]) // 2] for k in ("bare", "with"))
    ratios = sorted(b / a for a, b in zip(took["bare"], took["with"], strict=True))
    return {
        "seconds": used, "bare_seconds": bare, "ratio": ratios[len(ratios) // 2],
        "note": f"1000 tests, {ROUNDS} interleaved pairs, median of the ratios; {ratios[0]:.3f} .. {ratios[-1]:.3f}",
    }  # fmt: skip


def _seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], check=True, stdout=subprocess.DEVNULL, env=environment, cwd="/"
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
