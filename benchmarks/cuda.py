"""``python -m benchmarks.cuda [--device cuda] [--out reports]``: what gradverify says on a GPU, as ``cuda.md``.

Four tables: the torch items of the corpus, right and wrong, judged there; layers in every precision; a float32 layer of
a hundred million parameters and its memory; a network of a million parameters beside torch's gradcheck. Times are those
of the clock with the device waited for. ``--device cpu`` runs the same on the CPU, to try the script.
"""

from __future__ import annotations

import argparse
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.write import PACKAGES, _table, _version

VALUE = ["pullback-matches-oracle"]
DTYPES = ("float64", "float32", "bfloat16", "float16")


def corpus(device: str) -> Iterator[dict[str, Any]]:
    """One row per family: how many torch items were judged there, and what was wrong with that."""
    from tests.corpus import load
    from tests.corpus.__main__ import judge, on_torch

    items = [i for i in load().values() if on_torch(i)]
    outcomes = [judge(i, device=device) for i in items]
    for o in outcomes:
        if o.wrong:
            print(f"{o.wrong}: {o.item.name} said {o.verdict}: {o.text.splitlines()[-1][:200]}", flush=True)
    for family in [*dict.fromkeys(i.family for i in items), "all"]:
        rows = [o for o in outcomes if family in ("all", o.item.family)]
        bad = Counter(o.wrong for o in rows)
        twins = sum(bool(o.item.twin) for o in rows)
        yield {
            "family": family, "right": len(rows) - twins, "wrong": twins,
            **{k.replace(" ", "_"): bad[k] for k in ("false alarm", "miss", "evasion", "silent", "error")},
        }  # fmt: skip


def layers(torch: Any) -> Iterator[tuple[str, Any, dict[str, np.ndarray], dict[str, Any]]]:
    """(name, module or function, primals, constants)."""
    rng = np.random.default_rng(0)
    nn = torch.nn

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    class Attention(nn.Module):  # type: ignore[misc]  # torch is passed in, so its classes are Any
        def forward(self, q: Any, k: Any, v: Any) -> Any:
            return nn.functional.scaled_dot_product_attention(q, k, v)

    yield "Linear", nn.Linear(96, 64), {"input": draw(32, 96)}, {}
    yield "Conv2d", nn.Conv2d(3, 8, 3, stride=2, padding=1), {"input": draw(4, 3, 15, 13)}, {}
    yield "ConvTranspose2d", nn.ConvTranspose2d(4, 3, 3, stride=2), {"input": draw(2, 4, 7, 6)}, {}
    yield "BatchNorm2d", nn.BatchNorm2d(5), {"input": draw(6, 5, 4, 3)}, {}
    yield "LayerNorm", nn.LayerNorm(48), {"input": draw(7, 48)}, {}
    yield "LSTM", nn.LSTM(6, 5, batch_first=True), {"input": draw(3, 7, 6)}, {}
    yield "Embedding, repeated", nn.Embedding(11, 6), {}, {"input": np.array([1, 4, 4, 0, 10, 4])}
    yield "gelu", nn.GELU(), {"input": draw(50, 7)}, {}
    yield "attention", Attention(), {name: draw(2, 3, 17, 16) for name in "qkv"}, {}
    index = torch.tensor([0, 3, 3, 1, 3, 0])

    def added(x: Any) -> Any:
        return torch.zeros(4, 5, dtype=x.dtype, device=x.device).index_add(0, index.to(x.device), x)

    yield "index_add", added, {"x": draw(6, 5)}, {}


def precisions(device: str) -> Iterator[dict[str, Any]]:
    """Verdicts of all checks of the level, layer by layer; the resolution is the smallest error that was visible."""
    import torch

    import gradverify as gv

    for name, subject, primals, constants in layers(torch):
        for dtype in DTYPES:
            torch.manual_seed(0)
            start = time.perf_counter()
            try:
                report = gv.verify(subject, primals, constants=constants, device=device, dtype=dtype)
            except gv.GradverifyError as error:
                yield {"layer": name, "dtype": dtype, "verdict": "error", "note": str(error).splitlines()[0][:160]}
                continue
            seen = [f.resolution for f in report.findings if f.check == VALUE[0] and f.resolution is not None]
            bad = [f for f in report.findings if f.verdict in ("fail", "inconclusive", "error")]
            yield {
                "layer": name, "dtype": dtype, "verdict": str(report.verdict), "resolution": max(seen, default=None),
                "judged": sum(f.verdict in ("pass", "fail", "inconclusive") for f in report.findings),
                "seconds": time.perf_counter() - start, "note": f"{bad[0].check}: {bad[0].why}"[:160] if bad else "",
            }  # fmt: skip


def waited(torch: Any, call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call by the clock, the device waited for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def memory(device: str) -> Iterator[dict[str, Any]]:
    """A float32 layer: what the device and the host hold at most, in multiples of the parameters."""
    import torch

    import gradverify as gv

    for n in (1_000, 10_000):
        torch.manual_seed(0)
        module = torch.nn.Linear(n, n, dtype=torch.float32, device=device)
        x = np.random.default_rng(0).standard_normal((4, n)).astype(np.float32)
        given = torch.tensor(x, device=device)
        one = min(waited(torch, lambda: module(given))[0] for _ in range(3))  # noqa: B023  (called at once)
        own = sum(p.numel() * p.element_size() for p in module.parameters())
        on_gpu = torch.device(device).type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        tracemalloc.start()
        took, report = waited(
            torch,
            lambda: gv.verify(module, {"input": x}, device=device, dtype="float32", checks=VALUE, level="quick"),  # noqa: B023  (called at once)
        )
        host = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        yield {
            "parameters": f"{n * n:.0e}", "verdict": str(report.verdict), "seconds": took, "one_forward": one,
            "host_times_the_parameters": host / own,
            "device_times_the_parameters": torch.cuda.max_memory_allocated() / own if on_gpu else None,
        }  # fmt: skip


def million(device: str) -> Iterator[dict[str, Any]]:
    """A network of a million parameters in float64, beside gradcheck in fast mode; right, and with a wrong entry."""
    import torch

    import gradverify as gv

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(784, 900), torch.nn.Tanh(), torch.nn.Linear(900, 300), torch.nn.Tanh(), torch.nn.Linear(300, 10)
    ).to(device, torch.float64)
    X = torch.randn(256, 784, dtype=torch.float64, device=device)
    one = min(waited(torch, lambda: net(X).square().mean())[0] for _ in range(10))
    names = [n for n, _ in net.named_parameters()]

    def loss(*values: Any) -> Any:
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (X,)).square().mean()

    class Spoiled(torch.autograd.Function):
        """The loss with one median entry of a gradient wrong by 1e-5 of itself."""

        @staticmethod
        def forward(ctx: Any, *values: Any) -> Any:
            ctx.save_for_backward(*values)
            return loss(*values)

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> Any:
            with torch.enable_grad():
                leaves = [v.detach().requires_grad_() for v in ctx.saved_tensors]
                found = list(torch.autograd.grad(loss(*leaves), leaves, upstream))
            flat = found[2].reshape(-1).clone()
            flat[flat.abs().argsort()[flat.numel() // 2]] *= 1 + 1e-5
            found[2] = flat.reshape(found[2].shape)
            return tuple(found)

    values = {f"p{i}": p.detach().cpu().numpy() for i, p in enumerate(net.parameters())}
    leaves = [p.detach().clone().requires_grad_() for p in net.parameters()]
    work: list[tuple[str, str, Callable[[], Any]]] = [
        ("right", "gradverify", lambda: gv.verify(net, {"input": X}, checks=VALUE, device=device).verdict),
        ("one entry 1e-5", "gradverify", lambda: gv.verify(Spoiled, values, checks=VALUE, device=device).verdict),
        ("right", "torch gradcheck fast",
         lambda: torch.autograd.gradcheck(loss, leaves, fast_mode=True, raise_exception=False)),
    ]  # fmt: skip
    for what, tool, call in work:
        waited(torch, call)
        took, said = waited(torch, call)
        verdict = {True: "pass", False: "fail"}.get(said, str(said)) if isinstance(said, bool) else str(said)
        yield {"work": what, "tool": tool, "says": verdict, "seconds": took, "in_forwards": took / one}


PARTS: dict[str, Callable[[str], Iterator[dict[str, Any]]]] = {
    f.__name__: f for f in (corpus, precisions, memory, million)
}


def main() -> int:
    """Exit status 0 when the table was written, 2 without the device."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuda", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", default="reports", type=Path)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    import torch

    on_gpu = torch.device(options.device).type == "cuda"
    if on_gpu and not torch.cuda.is_available():
        print("no CUDA device here; --device cpu tries the script", file=sys.stderr)
        return 2
    where = torch.cuda.get_device_name() if on_gpu else "CPU"
    versions = "; ".join(f"{p} {_version(p)}" for p in PACKAGES[:3])
    lines = ["# On a GPU", "", f"`python -m benchmarks.cuda {' '.join(sys.argv[1:])}`".replace(" `", "`")
             + f", seed 0, {where}, {versions}."]  # fmt: skip
    for name in options.only:
        rows = []
        for row in PARTS[name](options.device):
            rows.append(row)
            print("  ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
        said = (PARTS[name].__doc__ or "").splitlines()[0]
        lines += ["", f"## {name}", "", said, "", *_table([{"part": name, **r} for r in rows])]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "cuda.md").write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
