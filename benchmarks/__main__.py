"""``python -m benchmarks [--out reports] [--seed 0] [--only PART ...]``: every number of the README, in one run.

One thread. Times are processor time, ratios are taken against a forward measured beside the check in the same run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import tools, works
from benchmarks.measure import Table, import_seconds
from benchmarks.plugin import overhead
from benchmarks.write import write

FD = ["finite-differences"]
GRADCHECK_FAST = ("torch gradcheck fast", tools.gradcheck_fast_unexplained)
PEERS: list[tuple[str, Callable[[], tools.Tool]]] = [
    ("torch gradcheck slow", tools.gradcheck),
    GRADCHECK_FAST,
    ("jax check_grads", tools.jax_check),
    ("autograd check_grads", tools.autograd_check),
    ("scipy check_grad", tools.scipy_check),
    ("scipy approx_derivative", tools.scipy_approx),
    ("scipy differentiate", tools.scipy_differentiate),
    ("numdifftools Gradient", tools.numdifftools_gradient),
]
DIRECTIONAL = {"torch gradcheck fast", "jax check_grads", "autograd check_grads"}
OURS: list[tuple[str, Callable[[], tools.Tool]]] = [
    ("gradverify", tools.ours),
    ("gradverify, differences only", lambda: tools.ours(oracles=FD)),
]
SEEN = {
    "gradverify": "every entry by autodiff of the forward, confirmed by differences along a random direction",
    "gradverify, differences only": "along two random directions over all entries",
}


def million(table: Table, rng: np.random.Generator) -> None:
    """1e6 parameters: a right gradient, and the smallest error of one median entry that is seen."""
    part, big = "1e6 parameters", works.mlp("mlp-1e6", (784, 900, 300, 10), 256, rng)
    for name, make in OURS:
        table.run(part, big, name, make, memory=True)
    table.run(part, big, "gradverify, every check", lambda: tools.ours(checks=None))
    for name, make in PEERS:
        if name in DIRECTIONAL:
            table.run(part, big, name, make, memory=name != "torch gradcheck fast")
        else:
            table.add(part, big.name, name, note=f"not run: at least {2 * big.size} forwards, hours")
    for name, make, sizes in [
        (*OURS[0], (1e-9, 1e-8, 1e-7)),
        (*OURS[1], (1e-8, 1e-7, 1e-6)),
        *((n, m, (1e-2, 1.0, 100.0)) for n, m in PEERS if n in DIRECTIONAL),
    ]:
        smallest(table, big, name, make, sizes)


def smallest(
    table: Table, work: works.Work, name: str, make: Callable[[], tools.Tool], sizes: tuple[float, ...]
) -> None:
    part = "smallest wrong entry"
    try:
        ask = make()
    except ImportError as error:
        table.add(part, work.name, name, note=f"not installed: {error}")
        return
    seen = [s for s in sizes if ask(work.planted(works.median_entry("W1", s))) is False]
    table.add(
        part, work.name, name, seen_from=min(seen, default=float("inf")),
        note=f"one entry of median size in W1 wrong by a part of itself; tried {', '.join(f'{s:g}' for s in sizes)}",
    )  # fmt: skip


def failing(table: Table, rng: np.random.Generator) -> None:
    """The same network with a bug: what finding and naming it costs beside a pass."""
    part, big = "a failing check", works.mlp("mlp-1e6", (784, 900, 300, 10), 256, rng)
    for name, make in OURS:
        passed = table.run(part, big, name, make)
        for bug, plant in [("one entry 1e-5", works.median_entry("W1", 1e-5)), ("sign of a layer", works.sign("W1"))]:
            wrong = big.planted(plant)
            wrong.name = f"mlp-1e6, {bug}"
            failed = table.run(part, wrong, name, make)
            if "seconds" in failed and "seconds" in passed:
                failed["times_the_pass"] = failed["seconds"] / passed["seconds"]
    table.add(part, big.name, "torch gradcheck fast", note="recomputes slow mode to explain a failure: 2e6 forwards")


def exhaustive(table: Table, rng: np.random.Generator) -> None:
    """All 13,174 entries by differences."""
    part, small = "13,174 entries", works.mlp("mlp-13174", (64, 128, 32, 22), 32, rng)
    table.run(part, small, "hand-stacked central difference", tools.hand_stacked)
    table.run(part, small, "gradverify.stacking central difference", tools.ours_stacked)
    for name, make in OURS:
        table.run(part, small, name, make, note="not every entry by itself: " + SEEN[name])
    for name, make in PEERS:
        if name in ("scipy differentiate", "numdifftools Gradient"):
            few = works.mlp("mlp-13174", (8, 4, 4), 32, rng)
            row = table.run(part, few, name, make, note=f"run at {few.size} entries, forwards extrapolated")
            if "forwards" in row:
                row["forwards"] = int(row["forwards"] / few.size * small.size)
                row["in_forwards"] = row["seconds"] = None
        else:
            table.run(part, small, name, make)


def entries(table: Table, rng: np.random.Generator) -> None:
    """An element-wise op: no dense Jacobian."""
    for n in (10_000, 100_000):
        part, op = "element-wise", works.elementwise(f"tanh-{n:.0e}", n, rng)
        for name, make in OURS:
            table.run(part, op, name, make, memory=True)
        for name, make in PEERS:
            if name in DIRECTIONAL:
                table.run(part, op, name, make, memory=True)
            elif name == "torch gradcheck slow":
                table.add(part, op.name, name, note=f"not run: two dense Jacobians of {8 * n * n / 2**30:.1f} GiB")


def tiny(table: Table, rng: np.random.Generator) -> None:
    """Nine parameters: what a check costs when the forward costs nothing."""
    part, net = "tiny", works.mlp("mlp-9", (2, 2, 1), 3, rng)
    for name, make in [*OURS, ("gradverify, every check", lambda: tools.ours(checks=None)), *PEERS]:
        table.run(part, net, name, make)


def memory(table: Table, rng: np.random.Generator) -> None:
    """1e8 parameters in float32: what is allocated at once, as a multiple of the parameters."""
    for n in (1_000, 10_000):
        layer = works.wide_layer(f"layer-{n * n:.0e}", n, rng)
        row = table.run("memory", layer, "gradverify", tools.ours, memory=True)
        if "peak_mb" in row:
            row["times_the_parameters"] = row["peak_mb"] * 2**20 / layer.primals["W"].nbytes


def scenes(table: Table, _: np.random.Generator) -> None:
    """Right and doubled gradients at seven hard points: a false alarm, or a miss."""
    for scene, right, doubled in works.scenes():
        large = right.size > 10_000
        for name, make in [*OURS, *PEERS]:
            if large and name not in (*dict(OURS), *DIRECTIONAL):
                table.add("scenes", scene, name, note="not run: hours")
                continue
            try:
                ask = make()
            except ImportError as error:
                table.add("scenes", scene, name, note=f"not installed: {error}")
                continue
            said = {}
            for which, work in (("right", right), ("doubled", doubled)):
                try:
                    said[which] = {True: "right", False: "wrong", None: "cannot say"}[ask(work)]
                except Exception as error:  # noqa: BLE001  (a peer may fail in its own way)
                    said[which] = type(error).__name__
            ok = said == {"right": "right", "doubled": "wrong"}
            table.add(
                "scenes",
                scene,
                name,
                right_is=said["right"],
                doubled_is=said["doubled"],
                verdict="ok" if ok else "FAILS",
            )


def starting(table: Table, _: np.random.Generator) -> None:
    """Imports, and the pytest plugin in a run that does not use it."""
    for module in ("gradverify", "numpy", "torch", "jax", "autograd", "numdifftools", "scipy.optimize", "pandas"):
        took = import_seconds(module)
        table.add("import", module, "python", **({"note": "not installed"} if took is None else {"seconds": took}))
    table.add("plugin", "pytest run that does not use it", "gradverify", **overhead())


PARTS = {f.__name__: f for f in (tiny, entries, exhaustive, million, failing, memory, scenes, starting)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", default="reports", type=Path)
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    for _, make in [*OURS, GRADCHECK_FAST]:  # imports are not part of a check
        make()(works.mlp("warm", (2, 2, 1), 3, np.random.default_rng(0)))
    table = Table()
    for name in options.only:
        PARTS[name](table, np.random.default_rng(options.seed))
    write(table.rows, options.out, seed=options.seed, command=f"python -m benchmarks {' '.join(sys.argv[1:])}".strip())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
