"""Measured rounding covers the true one, is not much larger, and excuses no bug."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradverify as gv
from gradverify import rounding
from gradverify.bench import LiveBench
from gradverify.rounding import Noisy, floor_of, noise
from gradverify.types import Case
from tests.oracles.support import VALUE, forward, value, verify

OPERATIONS = {
    "sum": lambda x: x + 0.3,
    "product": lambda x: x * 1.7,
    "exp": np.exp,
    "reduction": np.sum,
    "matmul": lambda x: x @ x.T,
    "dot": lambda x: np.dot(x[0], x[1]),
    "einsum": lambda x: np.einsum("ij,ij->i", x, x),
    "out": lambda x: np.add(x, 1.0, out=x.copy()),
    "in place": lambda x: _in_place(x.copy()),
    "where": lambda x: np.where(x > 0, x, 2 * x),
    "cumsum": lambda x: np.cumsum(x, axis=1),
    "scalar": lambda x: np.sqrt(np.abs(x[0, 0])) + x[1],
}


def _in_place(y):
    y *= 3.0
    y[0] += 1.0
    return y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPERATIONS)
@given(x=hnp.arrays(float, (3, 3), elements=st.floats(0.1, 4)), seed=st.integers(0, 2**31))
@settings(max_examples=6, deadline=None)
def test_noisy_operations_stay_within_a_few_roundings(name, dtype, x, seed):
    x = x.astype(dtype)
    plain = np.asarray(OPERATIONS[name](x))
    with noise(np.random.default_rng(seed), 1.0, "numpy"):
        found = np.asarray(OPERATIONS[name](x.view(Noisy)))
    assert found.shape == plain.shape
    assert found.dtype == plain.dtype
    assert np.all(np.abs(found - plain) <= 16 * np.finfo(dtype).eps * np.max(np.abs(plain)))


@pytest.mark.parametrize("amplitude", [1.0, 32.0])
def test_the_amplitude_is_the_size_of_the_noise(amplitude):
    x = np.ones(4000)
    with noise(np.random.default_rng(0), amplitude, "numpy"):
        spread = np.abs(np.asarray(x.view(Noisy) * 1.0) - 1.0)
    assert 0.9 * amplitude <= np.max(spread) / np.finfo(float).eps <= 1.1 * amplitude


@pytest.mark.parametrize("f", [np.negative, np.abs, lambda x: np.maximum(x, 0), np.sign, np.floor, lambda x: x[1:]])
def test_exact_operations_stay_exact(f):
    x = np.linspace(-2, 3, 7)
    with noise(np.random.default_rng(0), 1.0, "numpy"):
        assert np.array_equal(np.asarray(f(x.view(Noisy))), f(x))


def test_ties_stay_ties():
    x = np.array([2.0, 0.3, 2.0])
    with noise(np.random.default_rng(0), 1.0, "numpy"):
        noisy = x.view(Noisy)
        assert np.asarray(noisy == noisy.max()).tolist() == [True, False, True]


def test_integers_and_bools_are_left_alone():
    x = np.arange(5).view(Noisy)
    with noise(np.random.default_rng(0), 1.0, "numpy"):
        assert np.asarray(x * 2).tolist() == [0, 2, 4, 6, 8]


def test_outside_the_context_the_generator_and_amplitude_are_what_they_were():
    before = Noisy.rng, Noisy.amplitude
    with pytest.raises(KeyError), noise(np.random.default_rng(0), 32.0, "numpy"):
        raise KeyError
    assert before == (Noisy.rng, Noisy.amplitude)


@pytest.mark.parametrize(("eps", "allowed"), [(2.0**-52, 16 * 2.0**-52), (2.0**-23, 16 * 2.0**-23), (2.0**-7, 2.0**-6)])
def test_the_floor_is_sixteen_roundings_and_less_where_one_is_much(eps, allowed):
    assert floor_of(eps) == pytest.approx(allowed)


# against the true rounding ---


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def bench_of(f, back, x):
    pair = gv.functions(lambda x: (f(x), x), lambda u, x: {"x": back(u, x)})
    return LiveBench(pair, Case(name="c", primals={"x": x}, upstream=np.ones_like(f(x))))


CANCELLING = {
    "s (1 - s) of a saturated sigmoid": (
        sigmoid, lambda u, z: u * sigmoid(z) * (1 - sigmoid(z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
        np.linspace(8.0, 14.0, 25),
    ),
    "1 - tanh^2": (
        np.tanh, lambda u, z: u * (1 - np.tanh(z) ** 2), lambda z: 1 / np.cosh(z) ** 2, np.linspace(3.0, 7.5, 25)
    ),
    "(x + 1) - 1": (
        lambda x: x * x / 2, lambda u, x: u * ((x + 1) - 1), lambda x: x, np.geomspace(1e-5, 1e-2, 25)
    ),
    "no cancellation": (np.exp, lambda u, x: u * np.exp(x), np.exp, np.linspace(-2.0, 2.0, 25)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CANCELLING)
def test_measured_rounding_covers_the_true_one_and_is_not_absurd(name, dtype):
    f, back, truth, x = CANCELLING[name]
    x = x.astype(dtype)
    bench = bench_of(f, back, x)
    true = np.abs(bench.gradients()["x"].astype(np.longdouble) - truth(x.astype(np.longdouble))).astype(float)
    measured = bench.rounding("x")
    assert np.mean(true <= measured) >= 0.95
    floor = floor_of(float(np.finfo(dtype).eps)) * np.max(np.abs(truth(x)))
    assert np.median(measured) <= 40 * np.median(true) + 1.5 * floor


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CANCELLING)
def test_cancellation_in_a_right_backward_is_no_false_alarm(name, dtype):
    f, back, _, x = CANCELLING[name]
    report = verify(f, back, x, dtype=dtype, level="standard")
    assert report.verdict in ("pass", "inconclusive"), value(report).why


@pytest.mark.parametrize("shape", [(64,), ()])
def test_a_gradient_that_is_nothing_but_rounding_is_no_false_alarm(shape):
    """Zero at every point; each float32 run returns other noise. With enough entries some are small in all runs."""
    n = int(np.prod(shape))
    for seed in range(1 if shape else 150):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((32, n)).astype(np.float32)

        def back(u, x):
            terms = u * x
            return (terms - terms.mean(axis=0)).sum(axis=0).reshape(shape) + 0 * x.sum()

        def fwd(b, x=x):
            h = x + b.reshape(-1)
            return h - h.mean(axis=0), x

        rng = np.random.default_rng(seed)
        primals = {"b": rng.standard_normal(shape).astype(np.float32)}
        report = gv.verify((fwd, back), primals, seed=seed, level="quick", checks=[VALUE])
        assert report.verdict in ("pass", "inconclusive"), value(report).why


def test_an_entry_with_much_rounding_is_not_taken_for_a_jump_by_chance():
    """(x + s) - s has the rounding of s, of very different size from entry to entry; no allowance is far below it."""
    s = np.tile(np.geomspace(1e4, 1e7, 8), 150)
    x = np.linspace(0.5, 1.5, s.size)
    bench = bench_of(lambda x: x * x / 2, lambda u, x: u * ((x + s) - s), x)
    assert np.min(bench.rounding("x", near=2 * np.finfo(float).eps * s) / (np.finfo(float).eps * s)) > 0.7


def test_a_bug_as_large_as_a_hundred_roundings_is_not_excused_where_nothing_cancels():
    report = verify(np.exp, lambda u, x: u * np.exp(x) * (1 + 1e-12), np.linspace(-2.0, 2.0, 5))
    assert report.verdict == "fail"


@pytest.mark.parametrize("at", [0.0, 1e-17])
def test_a_kink_is_no_rounding(at):
    """A comparison that flips between runs moves a gradient by its own size; the wrong side is still wrong."""
    x = np.array([1.0 + at, 0.4, -0.7])
    bench = bench_of(lambda x: np.maximum(x - 1, 0) + x, lambda u, x: u * (1 + (x * 1.0 - 1 > 0)), x)
    assert np.max(bench.rounding("x")) < 1e-10


def test_a_cast_to_float32_inside_a_float64_backward_is_no_rounding():
    back = lambda u, x: u * np.exp(x).astype(np.float32).astype(float)  # noqa: E731  (a backward as data)
    x = np.linspace(-2.0, 2.0, 9)
    assert verify(np.exp, back, x).verdict == "fail"


def test_a_backward_that_refuses_other_arrays_is_allowed_the_floor():
    def strict(u, x):
        if type(x) is not np.ndarray:
            raise TypeError("plain arrays only")
        return u * np.exp(x)

    x = np.linspace(-1.0, 1.0, 5)
    measured = bench_of(np.exp, strict, x).rounding("x")
    assert np.allclose(measured, floor_of(2.0**-52) * np.e)


def test_the_rounding_of_the_forward_shows_what_its_small_value_does_not():
    """A loss of 1e-13 from logits of 30 carries the rounding of the logits."""
    f = forward(lambda z: np.log(np.sum(np.exp(z), axis=1)) - z[:, 0], z=np.array([[30.0, 0.3, 0.1]]))
    assert abs(f.origin[0]) < 1e-12
    assert rounding.of_forward(f, np.random.default_rng(0)) >= 1e-15


# narrow types ---


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.001, "fail")])
def test_float32_layers_pass_and_a_thousandth_fails(factor, verdict):
    rng = np.random.default_rng(0)
    primals = {"x": rng.standard_normal((8, 5)), "W": rng.standard_normal((3, 5))}

    def fwd(x, W):
        return np.tanh(x @ W.T), (x, W)

    def back(u, cache):
        x, W = cache
        d = u * (1 - np.tanh(x @ W.T) ** 2)
        dW = d.T @ x
        dW[1, 2] *= np.float32(factor)
        return {"x": d @ W, "W": dW}

    report = gv.verify((fwd, back), primals, dtype="float32", level="quick", checks=[VALUE])
    assert report.verdict == verdict


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.2, "fail"), (-1.0, "fail")])
def test_bfloat16_is_judged_to_its_two_digits(factor, verdict):
    torch = pytest.importorskip("torch")

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.tanh(x)

        @staticmethod
        def backward(ctx, u):
            (x,) = ctx.saved_tensors
            return factor * u * (1 - torch.tanh(x) ** 2)

    x = np.random.default_rng(1).standard_normal((4, 5))
    report = gv.verify(Scaled, {"x": x}, dtype="bfloat16", level="quick", checks=[VALUE])
    assert report.verdict == verdict, value(report).why


def test_random_rounding_leaves_whole_exponents_whole():
    torch = pytest.importorskip("torch")
    from gradverify._torch_noise import TorchNoise

    with TorchNoise(0, 1.0):
        assert all(float(torch.tensor(2.0, dtype=torch.float64)) == 2 for _ in range(9))


@pytest.mark.parametrize("size", [1e-12, 1e-9, 1e-6])
@pytest.mark.parametrize("seed", range(3))
def test_numbers_that_backward_draws_are_no_rounding(size, seed):
    hidden = np.random.RandomState(seed)

    def backward(u, x):
        return u * np.cos(x) * (1 + size * hidden.standard_normal(x.shape))

    report = gv.verify((lambda x: (np.sin(x), x), backward), {"x": np.random.default_rng(seed).standard_normal((4, 3))})
    assert report.verdict == "fail"
    assert {f.check for f in report.findings if f.verdict == "fail"} >= {"pullback-matches-oracle", "deterministic"}


def eigenvectors(sign):
    def forward(A):
        w, V = np.linalg.eigh((A + A.T) / 2)
        return V**2, (w, V)

    def backward(u, cache):
        w, V = cache
        apart = w[None] - w[:, None]
        np.fill_diagonal(apart, np.inf)
        with np.errstate(divide="ignore"):
            g = V @ ((V.T @ (2 * V * u)) / (sign * apart)) @ V.T
        return (g + g.T) / 2

    return forward, backward


def with_gap(gap):
    q = np.linalg.qr(np.random.default_rng(3).standard_normal((4, 4)))[0]
    return {"A": (q @ np.diag([1.0, 1.0 + gap, 2.0, 3.0]) @ q.T).astype(np.float32)}


def test_what_no_digit_is_left_of_in_float32_is_inconclusive_where_float64_is_right():
    report = gv.verify(eigenvectors(1), with_gap(1e-8))
    assert report.verdict == "inconclusive"
    assert "is right in float64" in str(report)


def test_what_is_wrong_in_float64_too_fails_however_little_float32_says():
    assert gv.verify(eigenvectors(-1), with_gap(1e-8)).verdict == "fail"


def test_what_float32_can_tell_it_tells():
    assert gv.verify(eigenvectors(1), with_gap(0.3)).verdict == "pass"
    assert gv.verify(eigenvectors(-1), with_gap(0.3)).verdict == "fail"


def test_what_is_left_of_a_zero_is_measured_where_forwards_are_dear_too(monkeypatch):
    monkeypatch.setattr("gradverify.consult.DEAR", 0.0)

    def total(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return p.sum(axis=1), p

    def backward(u, p):
        d = u[:, None] * np.ones_like(p)
        return p * (d - (d * p).sum(axis=1, keepdims=True))

    for seed in range(4):
        z = np.random.default_rng(seed).standard_normal((3, 5))
        assert gv.verify((total, backward), {"z": z}, checks=["pullback-matches-oracle"]).verdict == "pass"
