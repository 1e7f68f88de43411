"""Every op against torch autograd, in float64 and float32."""

import numpy as np
import pytest

from reference_impl import OPS
from tests.reference_impl.op_cases import CASES, IDS, torch_vjp

#: in units of the dtype's eps, relative to the largest entry: the longest sum here has a few dozen terms
ULPS = 64


def close(got, want, dtype):
    scale = np.abs(want).max(initial=0)
    return bool(np.all(np.abs(got - want) <= ULPS * np.finfo(dtype).eps * scale))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_output_and_gradients_agree_with_torch(case, dtype):
    primals = case.arguments(dtype)
    out, pullback = OPS[case.op].vjp({**primals, **case.constants})
    upstream = np.random.default_rng(1).standard_normal(out.shape).astype(dtype)
    want_out, want = torch_vjp(case, primals, upstream)  # torch computes in float64 in both cases
    got = {k: g for k, g in pullback(upstream).items() if g is not None}
    assert close(out, want_out, dtype)
    assert got.keys() == want.keys()
    for name, gradient in got.items():
        assert gradient.shape == want[name].shape
        assert close(gradient, want[name], dtype), name


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_output_and_gradients_keep_the_dtype(case, dtype):
    out, pullback = OPS[case.op].vjp({**case.arguments(dtype), **case.constants})
    gradients = [g for g in pullback(np.ones(out.shape)).values() if g is not None]  # a float64 upstream
    assert {out.dtype, *(g.dtype for g in gradients)} == {np.dtype(dtype)}


def test_a_tie_in_max_pooling_goes_to_the_first_entry_as_in_torch():
    import torch

    X = np.array([[[[1.0, 1.0], [1.0, 0.0]]]])
    _, pullback = OPS["max_pool2d"].fn(X)
    tensor = torch.tensor(X, requires_grad=True)
    torch.nn.functional.max_pool2d(tensor, 2).sum().backward()
    assert np.array_equal(pullback(np.ones((1, 1, 1, 1)))[0], tensor.grad.numpy())


@pytest.mark.parametrize("value", [-1e4, -50.0, -5.0, 0.5, 5.0, 50.0, 1e4])
@pytest.mark.parametrize("name", ["softplus", "silu", "mish", "gelu_tanh", "gelu", "elu", "sigmoid", "tanh", "relu"])
def test_activations_agree_with_torch_far_from_zero(name, value):
    import torch

    twins = {"gelu_tanh": lambda z: torch.nn.functional.gelu(z, approximate="tanh")}
    twin = twins.get(name) or getattr(torch.nn.functional, name)
    z = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    twin(z).backward()
    a, pullback = OPS[name].fn(np.array([value]))
    assert np.allclose(a, twin(z).detach().numpy(), rtol=1e-12, atol=1e-12)
    assert np.allclose(pullback([1.0])[0], z.grad.numpy(), rtol=1e-12, atol=1e-12)
