"""What a piece of code costs: seconds, lines of Python executed, bytes."""

from __future__ import annotations

import contextlib
import gc
import importlib
import math
import os
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import gradverify
from gradverify.sampling import quiet

#: (file, line) -> how often it ran
Lines = Counter[tuple[str, int]]

#: Code under these is not the user's: gradverify, installed packages, the standard library.
OURS = tuple(
    str(Path(p).resolve())
    for p in (Path(gradverify.__file__).parent, Path(np.__file__).parents[1], Path(os.__file__).parent)
)


@dataclass(frozen=True, kw_only=True)
class Meter:
    """How seconds are measured: the fastest of ``repeats`` runs, none of which a clock tick decides.

    clock  seconds that only grow; tests bring their own
    least  runs shorter than this are made longer by running in a row
    """

    clock: Callable[[], float] = time.perf_counter
    repeats: int = 5
    least: float = 2e-4

    def seconds(self, fresh: Callable[[], Callable[[], Any]]) -> float:
        """The time of what ``fresh()`` returns; ``fresh`` itself (a forward that a backward needs) is not counted."""
        once = min(self._once(fresh()) for _ in range(2))
        several = max(1, min(50, math.ceil(self.least / max(once, 1e-9))))
        best = once
        for _ in range(self.repeats):
            work = [fresh() for _ in range(several)]
            start = self.clock()
            for run in work:
                run()
            best = min(best, (self.clock() - start) / several)
        return best

    def _once(self, run: Callable[[], Any]) -> float:
        start = self.clock()
        run()
        return self.clock() - start


def lines(run: Callable[[], Any]) -> Lines:
    """Every line of Python that is executed of the user's own code, with how often; exact and repeatable."""
    found: Lines = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            name = frame.f_code.co_filename
            return None if name.startswith(OURS) or name.startswith("<frozen") else trace
        if event == "line":
            found[frame.f_code.co_filename, frame.f_lineno] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return found


def peak(run: Callable[[], Any]) -> tuple[int, int]:
    """(bytes held at most while it ran, bytes still held by its result afterwards)."""
    gc.collect()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        result = run()
        gc.collect()
        held, most = tracemalloc.get_traced_memory()
        del result
    finally:
        tracemalloc.stop()
    return most - start, held - start


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The p in cost = c size^p, by least squares on logarithms; NaN with fewer than two positive costs."""
    pairs = [(math.log(n), math.log(c)) for n, c in zip(sizes, costs, strict=True) if c > 0 and math.isfinite(c)]
    if len({n for n, _ in pairs}) < 2:
        return math.nan
    points = np.array(pairs)
    return float(np.polyfit(points[:, 0], points[:, 1], 1)[0])


@contextlib.contextmanager
def one_thread() -> Iterator[str]:
    """BLAS on one thread inside, where threadpoolctl can see to it; yields a sentence that says so."""
    with quiet():
        try:
            limits = importlib.import_module("threadpoolctl").threadpool_limits
        except ImportError:
            yield "not limited: install threadpoolctl or set OMP_NUM_THREADS=1"
            return
        with limits(limits=1):
            yield "1"
