"""A forward as a function of vectors: float64 copies, counted, along lines."""

import numpy as np
import pytest

import gradverify as gv
from gradverify.errors import AdapterError
from gradverify.sampling import Forward, flat, widened
from gradverify.tally import stored_eps
from gradverify.types import Case


class OnlyForward:
    name, traits = "f", frozenset()

    def __init__(self, f):
        self.f = f

    def evaluate(self, case):
        return self.f(*case.thawed().values())


def forward(f, *, upstream=None, **primals):
    out = f(*(np.array(v) for v in primals.values()))
    u = np.ones(np.shape(out)) if upstream is None else upstream
    return Forward(OnlyForward(f), Case(name="c", primals=primals, upstream=u))


def test_phi_is_the_product_with_the_upstream():
    f = forward(np.sin, upstream=np.array([2.0, -1.0]), x=np.array([0.3, 0.9]))
    [change], _ = f.along({"x": np.array([1.0, 0.0])}, [0.5])
    assert change == pytest.approx(2 * (np.sin(0.8) - np.sin(0.3)), abs=1e-15)


def test_a_float32_point_is_sampled_in_float64_at_the_very_same_values():
    x = np.array([0.1], np.float32)
    f = forward(np.exp, x=x)
    assert f.origin.dtype == float
    assert f.origin[0] == np.exp(float(x[0]))


def test_not_wide_keeps_the_dtype():
    f = Forward(
        OnlyForward(np.exp), Case(name="c", primals={"x": np.ones(2, np.float32)}, upstream=np.ones(2)), wide=False
    )
    assert f.eps == np.finfo(np.float32).eps


def test_the_rounding_unit_is_that_of_what_the_forward_returns():
    assert forward(lambda x: x.astype(np.float32), x=np.ones(2)).eps == np.finfo(np.float32).eps
    assert forward(np.exp, x=np.ones(2)).eps == np.finfo(float).eps


def test_the_origin_is_evaluated_once_and_every_sample_is_counted():
    f = forward(np.exp, x=np.ones(2))
    f.along({"x": np.ones(2)}, [0.1, -0.1, 0.2])
    f.along({"x": np.ones(2)}, [0.3])
    assert f.evaluations == 5


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, np.linalg.LinAlgError, AdapterError])
def test_a_forward_that_raises_beside_the_point_is_not_a_number_there(error):
    def f(x):
        if x[0] > 1.05:
            raise error("outside")
        return x

    values, _ = forward(f, x=np.ones(1)).along({"x": np.ones(1)}, [0.1, -0.1])
    assert np.isnan(values[0])
    assert values[1] == pytest.approx(-0.1)


def test_a_forward_that_raises_at_the_point_is_heard():
    f = Forward(
        OnlyForward(lambda x: np.linalg.cholesky(-np.eye(2) * x)),
        Case(name="c", primals={"x": np.ones(1)}, upstream=np.ones((2, 2))),
    )
    with pytest.raises(np.linalg.LinAlgError):
        _ = f.origin


def test_an_output_that_changes_its_shape_is_not_a_number():
    values, _ = forward(lambda x: x[x > 0.5], x=np.array([1.0, 0.6])).along({"x": np.ones(2)}, [-0.3])
    assert np.isnan(values[0])


def test_a_forward_without_an_upstream_is_refused():
    with pytest.raises(AdapterError, match="needs a case with its upstream"):
        Forward(OnlyForward(np.exp), Case(name="c", primals={"x": np.ones(1)}))


def test_integers_are_not_among_the_names():
    f = forward(lambda x, i: x[i], x=np.ones(3), i=np.array([0, 1]))
    assert f.names == ["x"]


def test_the_rounding_grows_with_the_value_and_not_with_its_change():
    f = forward(lambda x: x + 1e6, x=np.ones(1))
    _, noise = f.along({"x": np.ones(1)}, [1e-3])
    assert noise[0] == pytest.approx(1e6 * np.finfo(float).eps, rel=0.1)


def test_the_rounding_of_many_outputs_is_their_root_mean_square():
    f = forward(lambda x: np.full(10_000, 1.0) * x, x=np.ones(1))
    assert f.noise_of(f.origin) == pytest.approx(100 * np.finfo(float).eps)


def test_known_noise_is_in_the_rounding():
    f = forward(np.exp, x=np.ones(4))
    f.noise = 1e-3
    assert f.noise_of(f.origin) == pytest.approx(2e-3)


def test_warnings_of_user_code_are_not_shown(recwarn):
    values, _ = forward(lambda x: np.log(x) / x, x=np.array([0.1])).along({"x": np.ones(1)}, [-0.1, -0.2])
    assert not np.isfinite(values).any()
    assert not recwarn.list


def test_outputs_are_flattened_in_their_order():
    assert flat({"b": np.ones((1, 2)), "a": np.array(3.0)}).tolist() == [1, 1, 3]
    assert flat({}).shape == (0,)
    assert flat(np.array([1j])).dtype == complex


def test_widening_keeps_complex_numbers_complex():
    assert widened(np.ones(1, np.complex64)).dtype == complex
    assert widened(np.ones(1, np.float16)).dtype == float


@pytest.mark.parametrize(("dtype", "eps"), [("bfloat16", 2.0**-7), ("torch.float16", 2.0**-10), (None, 0.0)])
def test_the_storage_dtype_of_an_adapter_is_known_by_name(dtype, eps):
    adapter = OnlyForward(np.exp)
    adapter.dtype = dtype
    assert stored_eps(adapter) == eps


def test_float64_numbers_that_went_through_float32_carry_its_rounding():
    x = np.random.default_rng(0).standard_normal((4, 3))
    x[0, 0] = 1e-5

    def squares(x):
        return (100 + np.sum(x**2)).astype(np.float32).astype(float), x

    for backward, verdict in ((lambda d, x: 2 * d * x, "pass"), (lambda d, x: 2.1 * d * x, "fail")):
        assert gv.verify((squares, backward), {"x": x}, oracles=["finite-differences"]).verdict == verdict


def test_whole_numbers_are_float32_by_chance_only():
    x = np.arange(1.0, 5.0)
    report = gv.verify((lambda x: (x**2, x), lambda d, x: 2 * d * x), {"x": x}, oracles=["finite-differences"])
    value = next(f for f in report.findings if f.check == "pullback-matches-oracle")
    assert report.verdict == "pass"
    assert value.resolution < 1e-8
