"""The backward of a torch Function, called without the engine."""

from __future__ import annotations

import numpy as np
import pytest

import gradverify as gv
from gradverify import registry
from gradverify.adapters.torch_function import TorchFunction
from gradverify.bench import LiveBench
from gradverify.types import Case
from tests.bench import supported, wrong

torch = pytest.importorskip("torch")


class Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        return x @ w + b

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, x.T @ g, g.sum(0)


class Unreduced(Affine):
    @staticmethod
    def backward(ctx, g):
        return *Affine.backward(ctx, g)[:2], g


class Mutating(Affine):
    @staticmethod
    def backward(ctx, g):
        found = Affine.backward(ctx, g)
        g.mul_(2)
        return found


class Doubled(Affine):
    @staticmethod
    def backward(ctx, g):
        dx, dw, db = Affine.backward(ctx, g)
        return dx, dw.double(), db


class RawBuffer(Affine):
    """Reads the upstream in memory order, as a kernel does that was handed a bare pointer."""

    @staticmethod
    def backward(ctx, g):
        dense = g if g.is_contiguous() else torch.as_strided(g, g.shape, (g.shape[1], 1))
        return Affine.backward(ctx, dense)


def measured(function, dtype="float64"):
    rng = np.random.default_rng(0)
    shapes = {"x": (5, 4), "w": (4, 3), "b": (3,)}
    case = Case(name="c", primals={k: rng.standard_normal(s).astype(dtype) for k, s in shapes.items()})
    measurements = list(registry.check["raw-backward"].item(LiveBench(TorchFunction(function), case)))
    assert measurements
    return measurements


def found(function):
    return {m.of for m in wrong(measured(function))}


def test_a_right_backward_is_right_without_the_engine_too():
    assert found(Affine) == set()


def test_an_unreduced_gradient_that_the_engine_sums_is_found():
    assert found(Unreduced) == {"shape of b", "shape of b, upstream strided"}


def test_a_mutated_upstream_is_found():
    assert {"upstream", "upstream, upstream strided"} <= found(Mutating)


def test_a_dtype_that_the_engine_casts_is_noted():
    assert wrong(measured(Doubled, "float32")) == []
    notes = {n for m in measured(Doubled, "float32") for n in m.notes}
    assert notes == {"backward returns float64 for w, which is float32; the engine casts it"}


def test_a_backward_that_reads_the_raw_buffer_is_found():
    assert found(RawBuffer) == {f"{n}: without the engine, upstream strided" for n in ("x", "w", "b")}


def test_an_adapter_without_an_engine_is_left_alone():
    class Plain:
        name = "plain"

        def vjp(self, case):
            return case.primals["x"] * 2, lambda upstream: {"x": upstream * 2}

    bench = LiveBench(Plain(), Case(name="c", primals={"x": np.ones(3)}))
    assert list(supported(registry.check["raw-backward"].item(bench))) == []


def test_a_forward_that_saves_only_what_asks_for_a_gradient_is_asked_as_by_the_engine():
    class Clamp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            if x.requires_grad:
                ctx.save_for_backward(x)
            return x.clamp(-0.5, 0.5)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * (x.abs() <= 0.5)

    report = gv.verify(Clamp, {"x": torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)})
    assert report.verdict == "pass", str(report)
