"""A user's implementation as its batch grows: does its backward cost more than it should, and which line does it."""

from __future__ import annotations

import linecache
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gradverify.errors import AdapterError, UsageError
from gradverify.sampling import quiet
from gradverify.studies._meter import Lines, Meter, exponent, lines, peak
from gradverify.studies._networks import WEIGHT
from gradverify.types import Adapter, Array, Case, Out, Pullback, leaves, like, rng_for

#: How many times the given batch; no further once a pass needs this many bytes.
TIMES, ENOUGH = (1, 4, 16, 64), 1 << 23

#: A backward is about two forwards; twice and a half as much as that is much more.
TOO_MUCH = 5.0

#: Shorter than this a backward is all overhead, and its ratio to the forward says nothing.
SHORTEST = 2e-4

#: A cost that doubles with the batch has exponent 1, one that quadruples 2.
QUADRATIC, LOOP = 1.6, 0.5


def batch_of(adapter: Adapter, case: Case, named: Sequence[str] = ()) -> list[str]:
    """The arrays whose first axis runs over the samples: those ``named``, or those that can grow together.

    Raises UsageError when a name is unknown or nothing is found that the forward accepts with twice the samples.
    """
    arrays = {k: v for k, v in {**case.primals, **case.constants}.items() if isinstance(v, np.ndarray) and v.ndim}
    if named:
        unknown = [n for n in named if n not in arrays]
        if unknown:
            raise UsageError(f"--batch names {unknown[0]!r}; the arrays of {case.name} are {', '.join(arrays)}")
        return list(named)
    inputs = [k for k, v in arrays.items() if not WEIGHT.search(k) and (v.ndim > 1 or k in case.constants)]
    for length in dict.fromkeys(arrays[k].shape[0] for k in inputs):
        found = [k for k in inputs if arrays[k].shape[0] == length]
        for names in (found, [k for k in found if k in case.constants or k.lower()[:1] in "xaz"]):
            if names and length and _accepts(adapter, case, names):
                return names
    raise UsageError(
        f"{case.name}: cannot see which of {', '.join(arrays)} grow with the batch; name them: --batch X,y"
    )


def _accepts(adapter: Adapter, case: Case, names: Sequence[str]) -> bool:
    try:
        with quiet():
            adapter.vjp(grown(case, names, 2))
    except AdapterError:
        return False
    return True


def grown(case: Case, names: Sequence[str], times: int) -> Case:
    """The case with ``times`` as many samples: copies of those that it has, moved a little."""
    rng = rng_for(0, case.name, "grown", str(times))

    def more(v: Any) -> Array:
        repeated = np.concatenate([v] * times)
        return repeated * rng.uniform(0.9, 1.1, repeated.shape) if v.dtype.kind == "f" and times > 1 else repeated

    bigger = {n: more(case.primals[n]) for n in names if n in case.primals}
    fixed = {n: np.concatenate([case.constants[n]] * times) for n in names if n in case.constants}
    return replace(case, primals={**case.primals, **bigger}, constants={**case.constants, **fixed}, upstream=None)


def measured(adapter: Adapter, case: Case, names: Sequence[str], meter: Meter) -> list[dict[str, Any]]:
    """A row per batch size: seconds, lines of Python and bytes of the forward and of the backward."""
    base = {**case.primals, **case.constants}[names[0]].shape[0]
    rows: list[dict[str, Any]] = []
    for times in TIMES:
        at = grown(case, names, times)

        def forward(at: Case = at) -> tuple[Out, Pullback]:
            with quiet():
                return adapter.vjp(at)

        def backward(forward: Any = forward) -> Any:
            out, pullback = forward()
            upstream = _upstream(out)

            def run() -> Any:
                with quiet():
                    return pullback(upstream)

            return run

        if rows and max(rows[-1]["forward_bytes"], rows[-1]["backward_bytes"]) > ENOUGH:
            break
        before, after = lines(forward), lines(backward())
        rows.append({
            "subject": case.name, "batch": base * times, "forward_s": meter.seconds(lambda: forward),
            "backward_s": meter.seconds(backward), "forward_lines": before.total(), "backward_lines": after.total(),
            "forward_bytes": peak(forward)[0], "backward_bytes": peak(backward())[0], "hot": _hot(before, after),
        })  # fmt: skip
    return rows


def _upstream(out: Out) -> Out:
    rng = rng_for(0, "cost", "upstream")
    parts = {k: np.asarray(v) for k, v in leaves(out).items()}
    return like(out, {k: rng.standard_normal(v.shape).astype(v.dtype) for k, v in parts.items()})


def _hot(before: Lines, after: Lines) -> dict[str, tuple[str, int, int]]:
    """Of each pass the line that runs most often: (file, line, times)."""
    return {
        name: (*max(found, key=lambda k: found[k]), max(found.values()))
        for name, found in (("forward", before), ("backward", after))
        if found
    }


def verdicts(rows: Sequence[Mapping[str, Any]], joined: bool) -> tuple[dict[str, float], list[str]]:
    """(fitted exponents, sentences about what costs too much with the evidence); no sentence: as it should be.

    joined  forward and backward are one function, so that only how the whole grows can be judged
    """
    batches = [r["batch"] for r in rows]
    keys = ("forward_s", "backward_s", "forward_lines", "backward_lines", "forward_bytes", "backward_bytes")
    p = {k: exponent(batches[-3:], [r[k] for r in rows][-3:]) for k in keys}
    said: list[str] = []
    for part in ("forward", "backward"):
        if p[f"{part}_lines"] > LOOP:
            said.append(_loop("the passes" if joined else part, part, rows))
        for what, word in (("_bytes", "memory"), ("_s", "time")):
            slow = what == "_bytes" or rows[-1][f"{part}_s"] > SHORTEST
            if slow and p[part + what] > QUADRATIC:
                said.append(f"{part}: its {word} grows like batch^{p[part + what]:.2f} where batch^1 is due")
                break
    f, b = rows[-1]["forward_s"], rows[-1]["backward_s"]
    if not joined and b > SHORTEST and b > TOO_MUCH * f:
        said.append(
            f"backward: {b / f:.0f} times the forward at batch {batches[-1]} ({b:.1e} s against {f:.1e} s); 2 are due"
        )
    return p, said


def _loop(name: str, part: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Which line runs once per sample."""
    first, last = rows[0], rows[-1]
    file, line, times = last["hot"][part]
    text = linecache.getline(file, line).strip()
    return (
        f"{name}: a Python loop over samples: {first[f'{part}_lines']} lines of Python run at batch {first['batch']}, "
        f"{last[f'{part}_lines']} at batch {last['batch']}; {Path(file).name}:{line} runs {times} times: {text}"
    )


def joined(adapter: Adapter) -> bool:
    """Whether the gradients are computed together with the value, so that backward alone costs nothing."""
    return "no-upstream" in getattr(adapter, "traits", ())
