"""torch, another process, a small autograd engine, and the reference: the adapters with something in between."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gradverify as gv
from gradverify import registry
from gradverify.adapters._adapt import adapt
from gradverify.adapters.process import Process
from gradverify.adapters.reference import Reference
from gradverify.adapters.tape import Tape
from gradverify.adapters.torch_function import TorchFunction
from gradverify.adapters.torch_module import TorchModule
from gradverify.errors import AdapterError, MissingExtra, Unsupported, UsageError
from gradverify.types import Case
from reference_impl.ops import OPS

torch = pytest.importorskip("torch")
WORKER = [sys.executable, str(Path(__file__).with_name("worker.py"))]


@pytest.fixture
def primals(rng):
    return {"x": rng.standard_normal((5, 4)), "W": rng.standard_normal((4, 3))}


class Scaled(torch.autograd.Function):
    sign = 1.0

    @staticmethod
    def forward(ctx, x, W, k):
        ctx.save_for_backward(x, W)
        ctx.k = k
        return k * torch.tanh(x) @ W

    @classmethod
    def backward(cls, ctx, g):
        x, W = ctx.saved_tensors
        t = torch.tanh(x)
        return ctx.k * (g @ W.T) * (1 - t * t), ctx.k * t.T @ g, None


class Wrong(Scaled):
    @staticmethod
    def backward(ctx, g):
        _, W = ctx.saved_tensors
        return -(g @ W.T), torch.zeros_like(W), None


class NewStyle(torch.autograd.Function):
    @staticmethod
    def forward(x, W):
        return torch.tanh(x) @ W, x.argmax(dim=1)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, g, _):
        x, W = ctx.saved_tensors
        t = torch.tanh(x)
        return (g @ W.T) * (1 - t * t), t.T @ g


def test_a_function_with_a_constant(agree_torch, primals):
    adapter = agree_torch(Scaled, primals, {"k": 2.0})
    assert isinstance(adapter, TorchFunction)
    assert "engine" in adapter.traits


def test_a_function_with_setup_context_and_an_integer_output(agree_torch, primals):
    agree_torch(NewStyle, primals)


@pytest.mark.parametrize("function", [Scaled, NewStyle])
def test_the_raw_backward_agrees_with_the_engine(primals, function):
    constants = {"k": 2.0} if function is Scaled else {}
    adapter = TorchFunction(function)
    case = Case(name="c", primals=primals, constants=constants)
    (out, through), (_, raw) = adapter.vjp(case), adapter.raw_vjp(case)
    for name, gradient in raw(out).items():
        np.testing.assert_allclose(gradient, through(out)[name])


class Unreduced(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, b):
        return x + b

    @staticmethod
    def backward(ctx, g):
        g.mul_(2)
        return g, g


def test_the_raw_backward_shows_what_the_engine_repairs(rng):
    case = Case(name="c", primals={"x": rng.standard_normal((5, 4)), "b": rng.standard_normal(4)})
    out, pullback = TorchFunction(Unreduced).raw_vjp(case)
    upstream = np.ones_like(out)
    assert pullback(upstream)["b"].shape == (5, 4)
    np.testing.assert_array_equal(upstream, 2.0)


def test_only_the_asked_primals_need_a_gradient(primals):
    seen = []

    class Watching(Scaled):
        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return Scaled.backward(ctx, g)

    case = Case(name="c", primals=primals, constants={"k": 1.0})
    out, pullback = TorchFunction(Watching).vjp_wrt(case, frozenset({"W"}))
    got = pullback(out)
    assert seen == [(False, True, False)]
    assert got["x"] is None
    assert got["W"].shape == (4, 3)


def wrong_everywhere():
    bound = Wrong.apply
    yield "a function", TorchFunction(Wrong), {"k": 2.0}
    yield "apply inside a callable", TorchModule(lambda x, W: Wrong.apply(x, W, 2.0)), {}
    yield "apply bound at import", TorchModule(lambda x, W: bound(x, W, 2.0)), {}
    yield "apply itself", TorchModule(bound), {"k": 2.0}


@pytest.mark.parametrize(
    ("adapter", "constants"), [c[1:] for c in wrong_everywhere()], ids=[c[0] for c in wrong_everywhere()]
)
def test_the_forward_for_oracles_bypasses_the_custom_backward(primals, adapter, constants):
    tensors = {k: torch.tensor(v, requires_grad=True) for k, v in primals.items()}
    out = adapter.call(tensors, constants)
    (got,) = torch.autograd.grad(out.sum(), tensors["W"])
    want = 2 * torch.tanh(tensors["x"]).T @ torch.ones(5, 3, dtype=torch.float64)
    np.testing.assert_allclose(got.numpy(), want.detach().numpy())
    case = Case(name="c", primals=primals, constants=constants)
    np.testing.assert_array_equal(adapter.vjp(case)[1](np.ones((5, 3)))["W"], 0)


def test_apply_is_put_back_after_an_exception(primals):
    before = torch.autograd.Function.__dict__["apply"], "apply" in torch.autograd.Function.__mro__[1].__dict__

    def fails(x, W):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        TorchModule(fails).call({k: torch.tensor(v) for k, v in primals.items()}, {})
    assert before == (torch.autograd.Function.__dict__["apply"], "apply" in torch.autograd.Function.__mro__[1].__dict__)


def test_a_forward_that_leaves_torch_is_unsupported(rng):
    class Leaves(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.from_numpy(np.tanh(x.detach().numpy()))

        @staticmethod
        def backward(ctx, g):
            return g

    with pytest.raises(Unsupported, match="leaves torch"):
        TorchFunction(Leaves).call({"x": torch.tensor(rng.standard_normal(3), requires_grad=True)}, {})


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Linear(4, 3)
        self.norm = torch.nn.BatchNorm1d(3)
        self.drop = torch.nn.Dropout(0.3)
        self.unused = torch.nn.Parameter(torch.ones(2))
        self.frozen = torch.nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, x):
        return self.drop(self.norm(torch.tanh(self.first(x)))) * self.frozen


def test_a_module_with_parameters_buffers_and_dropout(agree_torch, primals):
    module = Net().double()
    kept = {k: v.clone() for k, v in module.state_dict().items()}
    adapter = agree_torch(module, {"x": primals["x"]}, without=("unused",))
    assert set(adapter.parameters()) == {"first.weight", "first.bias", "norm.weight", "norm.bias", "unused"}
    assert all(torch.equal(v, kept[k]) for k, v in module.state_dict().items())
    assert module.training


def test_a_module_in_eval_mode_stays_there(agree_torch, primals):
    module = Net().double().eval()
    agree_torch(module, {"x": primals["x"]}, without=("unused",))
    assert not module.training


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_low_precision_gradients_come_back_as_arrays(primals, dtype):
    adapter = adapt(torch.nn.Linear(4, 3), {"x": primals["x"]}, dtype=dtype)
    out, pullback = adapter.vjp(Case(name="c", primals={"x": primals["x"], **adapter.parameters()}))
    want = np.float32 if dtype == "bfloat16" else np.dtype(dtype)
    assert {out.dtype, *(g.dtype for g in pullback(out).values())} == {np.dtype(want)}
    assert adapter.dtype == ("bfloat16" if dtype == "bfloat16" else None)


def test_bfloat16_values_are_those_of_bfloat16(primals):
    adapter = TorchModule(torch.tanh, dtype="bfloat16")
    out = adapter.evaluate(Case(name="c", primals={"x": primals["x"]}))
    np.testing.assert_array_equal(out, torch.tensor(out).bfloat16().float().numpy())


def test_a_callable_is_driven_by_torch_when_a_primal_is_a_tensor():
    assert isinstance(adapt(lambda x: x.sin(), {"x": torch.ones(3)}), TorchModule)


def test_the_callers_torch_generator_is_left_alone(primals):
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    adapter = TorchModule(torch.nn.Dropout(0.5))
    case = Case(name="c", primals={"x": primals["x"]})
    np.testing.assert_array_equal(adapter.vjp(case)[0], adapter.evaluate(case))
    assert torch.equal(torch.rand(3), want)


def test_nested_outputs_have_the_names_of_their_places(rng):
    adapter = TorchModule(torch.nn.LSTM(4, 3, batch_first=True).double())
    out = adapter.evaluate(Case(name="c", primals={"x": rng.standard_normal((2, 5, 4)), **adapter.parameters()}))
    assert set(out) == {"0", "1.0", "1.1"}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_module_on_cuda(agree_torch, primals):
    agree_torch(Net().double(), {"x": primals["x"]}, without=("unused",), device="cuda")


def test_another_program_over_a_pipe(primals):
    case = Case(name="c", primals=primals, constants={"k": 2.0, "y": np.arange(3)})
    out, pullback = Process(WORKER).vjp(case)
    np.testing.assert_allclose(out, 2 * np.tanh(primals["x"]) @ primals["W"], rtol=1e-15)
    first, second = pullback(out), pullback(np.zeros_like(out))
    np.testing.assert_allclose(first["W"], 2 * np.tanh(primals["x"]).T @ out, rtol=1e-15)
    np.testing.assert_array_equal(second["W"], 0)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("crash", "ended without an answer .exit status 1.; it said: RuntimeError: out of cheese"),
        ("hang", "gave no answer within 0.5 s"),
        ("huge", r"announced a gradient of shape \(4000,\) for 'x' of shape \(5, 4\)"),
        ("error", "answered an error: no backward today"),
        ("garbage", "header that is not JSON"),
    ],
)
def test_a_program_that_misbehaves_costs_one_clear_line(primals, mode, words):
    adapter, case = Process([*WORKER, mode], timeout=0.5 if mode == "hang" else 20), Case(name="c", primals=primals)
    start = time.monotonic()
    with pytest.raises(AdapterError, match=words):
        adapter.vjp(case)[1](np.ones((5, 3)))
    assert time.monotonic() - start < 15


def test_a_program_that_does_not_exist_is_named():
    with pytest.raises(AdapterError, match=r"cannot start .*no_such_program"):
        Process(["./no_such_program"]).evaluate(Case(name="c", primals={"x": np.ones(1)}))


def test_a_command_line_as_one_string_is_refused():
    with pytest.raises(UsageError, match="needs a list of arguments"):
        Process("./backend --fast")


class Tensor:
    """An autograd engine in a few lines."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = np.asarray(data), 0.0, parents

    def __mul__(self, other):
        return Tensor(self.data * other.data, [(self, lambda g: g * other.data), (other, lambda g: g * self.data)])

    def __matmul__(self, other):
        return Tensor(self.data @ other.data, [(self, lambda g: g @ other.data.T), (other, lambda g: self.data.T @ g)])

    def sum(self):
        return Tensor(self.data.sum(), [(self, lambda g: g * np.ones_like(self.data))])

    def backward(self, g=1.0):
        self.grad = self.grad + g
        for parent, pull in self.parents:
            parent.backward(pull(g))


class Value:
    """micrograd, in a few lines: scalars only."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents = data, 0.0, parents

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __add__(self, other):
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def backward(self, g=1.0):
        self.grad += g
        for parent, slope in self.parents:
            parent.backward(g * slope)


def gradients_of(adapter, primals, central):
    case = Case(name="c", primals=primals)
    out, pullback = adapter.vjp(case)
    upstream = np.random.default_rng(1).standard_normal(np.shape(out))
    got = pullback(upstream)
    for name in primals:
        np.testing.assert_allclose(got[name], central(adapter, case, upstream, name), rtol=1e-6, atol=1e-8)
    again = pullback(upstream)
    np.testing.assert_allclose(again["x"], got["x"])


def test_a_small_autograd_engine(primals, central):
    gradients_of(Tape(lambda x, W: (x * x) @ W, wrap=Tensor), primals, central)


def test_a_scalar_engine(rng, central):
    def f(x, w):
        return np.array([sum((xi * wi * xi for xi, wi in zip(row, w, strict=True)), Value(0.0)) for row in x])

    gradients_of(
        Tape(f, wrap=Value, scalars=True), {"x": rng.standard_normal((2, 3)), "w": rng.standard_normal(3)}, central
    )


def test_an_op_of_the_reference_and_its_stacked_evaluation(primals, central):
    adapter = Reference("tanh")
    (name,) = OPS["tanh"].primals
    case = Case(name="c", primals={name: primals["x"]})
    out, pullback = adapter.vjp(case)
    np.testing.assert_allclose(pullback(out)[name], central(adapter, case, out, name), rtol=1e-7, atol=1e-9)
    many = np.stack([primals["x"], 2 * primals["x"]])
    np.testing.assert_array_equal(adapter.evaluate_many(case, {name: many}), np.tanh(many))


def test_an_unknown_op_of_the_reference_names_the_nearest():
    with pytest.raises(UsageError, match=r"no op 'tanhh'; did you mean tanh\?"):
        Reference("tanhh")


def test_jax_is_asked_for_by_the_name_of_its_extra():
    pytest.importorskip("numpy")
    try:
        import jax  # noqa: F401 - only whether it is there
    except ImportError:
        with pytest.raises(MissingExtra, match=r"jax is needed for gv.jax_function.*gradverify\[jax\]"):
            registry.adapter["jax_function"].item(np.sin)
    else:
        pytest.skip("jax is installed here")


def test_torch_is_asked_for_by_the_name_of_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"torch is needed for gv.torch_module.*gradverify\[torch\]"):
        TorchModule(np.sin)


def test_the_parameters_of_a_module_keep_its_own_layout(rng):
    module = torch.nn.Conv2d(2, 3, 2).double().to(memory_format=torch.channels_last)
    seen = []
    module.register_forward_pre_hook(lambda m, _: seen.append(m.weight.stride()))
    adapter = TorchModule(module)
    wide = {n: np.repeat(v, 2, axis=-1)[..., ::2] for n, v in adapter.parameters().items()}
    adapter.vjp(Case(name="c", primals={"input": rng.standard_normal((1, 2, 4, 4)), **wide}))
    assert seen == [module.weight.stride()]


def test_a_scalar_output_needs_no_sum():
    adapter = Tape(lambda a, b: a * b + a, wrap=Value)
    _, pullback = adapter.vjp(Case(name="c", primals={"a": np.array(1.5), "b": np.array(-2.0)}))
    got = pullback(np.array(2.0))
    assert (got["a"], got["b"]) == (-2.0, 3.0)


def test_an_engine_of_scalars_is_told_how_to_say_so():
    adapter = Tape(lambda a: a * a, wrap=Value)
    _, pullback = adapter.vjp(Case(name="c", primals={"a": np.array([1.5, 2.0])}))
    with pytest.raises(AdapterError, match=r"has no sum.*scalars=True.*seed="):
        pullback(np.ones(2))


@pytest.mark.parametrize("method", ["vjp", "raw_vjp"])
def test_an_upstream_that_is_changed_behind_a_conversion_is_changed_for_the_caller_too(rng, method):
    case = Case(name="c", primals={"x": rng.standard_normal((5, 4)), "b": rng.standard_normal((5, 4))})
    out, pullback = getattr(TorchFunction(Unreduced, dtype="bfloat16"), method)(case)
    upstream = np.ones_like(out)
    pullback(upstream)
    np.testing.assert_array_equal(upstream, 2.0)


@pytest.mark.parametrize("method", ["vjp", "raw_vjp"])
def test_an_upstream_that_only_a_conversion_rounds_is_left_alone(primals, method):
    case = Case(name="c", primals=primals, constants={"k": 1.0})
    out, pullback = getattr(TorchFunction(Scaled, dtype="bfloat16"), method)(case)
    upstream = np.full_like(out, 1.001)
    pullback(upstream)
    np.testing.assert_array_equal(upstream, np.float32(1.001))


class Boxed:
    """A tensor that hands its numbers out by a method; ``data`` is something of its own."""

    def __init__(self, values, back=None):
        self.data, self._values, self._back, self.grad = object(), np.array(values, dtype=float), back, None

    def to_numpy(self):
        return self._values

    def __mul__(self, other):
        def back(g):
            self.give(g * other._values)
            other.give(g * self._values)

        return Boxed(self._values * other._values, back)

    def sum(self):
        return Boxed(self._values.sum(), lambda g: self.give(np.broadcast_to(g, self._values.shape)))

    def give(self, g):
        self.grad = Boxed(g if self.grad is None else self.grad._values + g)
        if self._back is not None:
            self._back(g)

    def backward(self):
        self.give(np.ones(()))


def test_an_engine_that_hands_its_numbers_out_by_a_method():
    point = {"x": np.arange(1.0, 5.0), "y": np.arange(2.0, 6.0)}
    assert gv.verify(gv.tape(lambda x, y: x * y, wrap=Boxed), point).verdict == "pass"


def test_a_wrap_that_refuses_an_array_is_said_so():
    def wrap(array):
        raise AssertionError("only float32")

    with pytest.raises(AdapterError, match="only float32"):
        gv.verify(gv.tape(lambda x: x, wrap=wrap), {"x": np.ones(3)})
