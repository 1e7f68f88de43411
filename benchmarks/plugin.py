"""What the pytest plugin adds to a run that does not use it: two kinds of runs, interleaved."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROUNDS = 24
FILES, TESTS = 16, 25  #: a run of some hundred tests that do nothing: the plugin weighs most where there is no work


def overhead() -> dict[str, Any]:
    """Median processor seconds of a bare pytest run and of one with the plugin loaded.

    Both kinds run once before, so that bytecode (rewritten by pytest) is on the disk as it is in anybody's second run.
    """
    with tempfile.TemporaryDirectory() as folder:
        for i in range(FILES):
            lines = [f"def test_{j}():\n    assert {j} + 1 > {j}\n" for j in range(TESTS)]
            Path(folder, f"test_{i}.py").write_text("\n".join(lines))
        took: dict[str, list[float]] = {"bare": [], "with": []}
        for round_ in range(-1, ROUNDS):
            kinds = ("bare", "with") if round_ % 2 else ("with", "bare")
            for kind in kinds:
                plugin = ["-p", "no:gradverify"] if kind == "bare" else []
                seconds = _seconds([*plugin, "-p", "no:cacheprovider", "-q", folder])
                if round_ >= 0:
                    took[kind].append(seconds)
    bare, used = (sorted(took[k])[len(took[k]) // 2] for k in ("bare", "with"))
    ratios = sorted(b / a for a, b in zip(took["bare"], took["with"], strict=True))
    return {
        "seconds": used, "bare_seconds": bare, "ratio": ratios[len(ratios) // 2],
        "note": f"{FILES * TESTS} tests, {ROUNDS} interleaved pairs, processor time, median of the ratios; half "
        f"of them {ratios[len(ratios) // 4]:.3f} .. {ratios[3 * len(ratios) // 4]:.3f}",
    }  # fmt: skip


def _seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS")}
    command = [sys.executable, "-m", "pytest", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment, cwd="/")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
