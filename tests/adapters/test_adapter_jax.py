"""Functions of jax arrays: plain, jit, custom_vjp and custom_jvp, right and wrong. Skipped where there is no jax."""

from __future__ import annotations

import numpy as np
import pytest

import gradverify as gv
from gradverify.adapters.jax_function import double_precision
from gradverify.errors import AdapterError
from gradverify.oracles.adjoint import Adjoint

jax = pytest.importorskip("jax")
jnp = jax.numpy

RNG = np.random.default_rng(0)
POINT = {"x": RNG.standard_normal((5, 3)), "W": RNG.standard_normal((4, 3))}


def plain(x, W):
    return jnp.tanh(x @ W.T)


def with_rule(factor):
    """tanh(x W^T) with a hand-written pullback, which is right where the factor is one."""

    @jax.custom_vjp
    def layer(x, W):
        return jnp.tanh(x @ W.T)

    def forward(x, W):
        y = jnp.tanh(x @ W.T)
        return y, (x, W, y)

    def backward(kept, upstream):
        x, W, y = kept
        dz = upstream * (1 - y**2)
        return dz @ W, factor * (dz.T @ x)

    layer.defvjp(forward, backward)
    return layer


def with_tangents(factor):
    """tanh with a hand-written forward mode, from which jax derives the pullback."""

    @jax.custom_jvp
    def tanh(x):
        return jnp.tanh(x)

    @tanh.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        y = jnp.tanh(x)
        return y, factor * t * (1 - y**2)

    return tanh


@pytest.mark.parametrize("make", [lambda f: f, lambda f: jax.jit(f)], ids=["plain", "jit"])
def test_what_jax_differentiates_itself_passes(make):
    report = gv.verify(gv.jax_function(make(plain)), POINT)
    assert report.verdict == "pass", str(report)
    assert report.judged > 20


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1 + 1e-7, "fail"), (-1.0, "fail")])
def test_a_custom_vjp_is_on_trial(factor, verdict):
    report = gv.verify(with_rule(factor), POINT)
    assert report.verdict == verdict, str(report)
    failed = {
        f.facts["primal"] for f in report.findings if f.verdict == "fail" and f.check == "pullback-matches-oracle"
    }
    assert failed == (set() if verdict == "pass" else {"W"})


def test_the_cause_of_a_wrong_custom_vjp_is_named():
    assert "scale" in gv.verify(with_rule(2.0), POINT).causes
    assert "sign" in gv.verify(with_rule(-1.0), POINT).causes


def test_a_custom_vjp_inside_jit_inside_a_function_is_on_trial():
    layer = jax.jit(with_rule(0.5))
    assert gv.verify(gv.jax_function(lambda x, W: jnp.sum(layer(x, W) ** 2)), POINT).verdict == "fail"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.01, "fail")])
def test_a_custom_jvp_is_on_trial(factor, verdict):
    report = gv.verify(with_tangents(factor), {"x": POINT["x"]})
    assert report.verdict == verdict, str(report)


def test_the_forward_mode_of_jax_is_asked_against_its_backward():
    case = gv.Case(name="given", primals=POINT, upstream=np.ones((5, 4)))
    adapter = gv.jax_function(with_tangents(1.0))
    x = gv.Case(name="given", primals={"x": POINT["x"]}, upstream=np.ones((5, 3)))
    slope = Adjoint().along(adapter, x, {"x": POINT["x"]})
    assert slope == pytest.approx(float(np.sum(POINT["x"] * (1 - np.tanh(POINT["x"]) ** 2))), rel=1e-13)
    assert Adjoint().supports(gv.jax_function(plain), case) == ""


def test_a_custom_vjp_has_no_forward_mode_and_is_judged_all_the_same():
    report = gv.verify(with_rule(1.0), POINT, level="thorough")
    assert report.verdict == "pass", str(report)


def test_double_precision_is_switched_on_for_the_call_and_off_again():
    before = jnp.ones(1).dtype
    out, pullback = gv.jax_function(plain).vjp(gv.Case(name="c", primals=POINT))
    assert out.dtype == pullback(np.ones((5, 4)))["W"].dtype == np.float64
    assert jnp.ones(1).dtype == before


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_lower_precision_is_judged_at_its_own_rounding(dtype):
    assert gv.verify(with_rule(1.0), POINT, dtype=dtype).verdict == "pass"
    assert gv.verify(with_rule(1.5), POINT, dtype=dtype).verdict == "fail"


def test_labels_and_settings_are_constants_and_integers_get_no_gradient():
    def loss(z, y, scale):
        return -jnp.mean(jax.nn.log_softmax(scale * z)[jnp.arange(len(y)), y])

    point, fixed = {"z": RNG.standard_normal((5, 3))}, {"y": np.array([0, 2, 1, 1, 0]), "scale": 1.5}
    assert gv.verify(gv.jax_function(loss), point, constants=fixed).verdict == "pass"


def test_a_key_that_is_a_constant_makes_a_function_of_dropout():
    def dropout(x, key):
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x / 0.5, 0.0)

    report = gv.verify(gv.jax_function(dropout), {"x": POINT["x"]}, constants={"key": jax.random.PRNGKey(0)})
    assert report.verdict == "pass", str(report)


def test_several_outputs_in_a_mapping_are_judged_together():
    report = gv.verify(gv.jax_function(lambda x: {"a": jnp.sin(x), "b": jnp.sum(x**2)}), {"x": POINT["x"]})
    assert report.verdict == "pass", str(report)


def test_jax_arrays_are_primals_like_others():
    report = gv.verify(with_rule(1.0), {k: jnp.asarray(v) for k, v in POINT.items()})
    assert report.verdict == "pass", str(report)


def test_complex_numbers_follow_the_convention_of_jax():
    z = RNG.standard_normal((3, 2)) + 1j * RNG.standard_normal((3, 2))
    report = gv.verify(gv.jax_function(lambda z: jnp.sum(jnp.abs(z * z) ** 2)), {"z": z})
    assert report.verdict == "pass", str(report)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (0.5, "fail")])
def test_value_and_grad_of_jax_is_a_loss_with_gradients(factor, verdict):
    def loss(x, W):
        return jnp.sum(plain(x, W) ** 2)

    both = jax.value_and_grad(loss, argnums=(0, 1))

    def bent(x, W):
        value, (dx, dW) = both(x, W)
        return value, {"x": dx, "W": factor * dW}

    with double_precision(jax)():
        assert gv.verify(bent, POINT).verdict == verdict


def test_a_jitted_function_may_return_its_gradients_too():
    both = jax.jit(jax.value_and_grad(lambda x, W: jnp.sum(plain(x, W) ** 2), argnums=(0, 1)))
    with double_precision(jax)():
        assert gv.verify(both, POINT).verdict == "pass"


@pytest.mark.parametrize("make", [lambda f: f, lambda f: jax.jit(f)], ids=["plain", "jit"])
def test_a_function_that_jax_differentiates_is_told_how_to_be_driven(make):
    with pytest.raises(AdapterError, match=r"returned an array of jax, and no gradients; .*gv.jax_function\(f\)"):
        gv.verify(make(lambda x: jnp.sin(x)), {"x": POINT["x"]})


def test_a_function_that_is_not_of_jax_arrays_says_what_it_raised():
    def numpy_only(x):
        return np.tanh(np.asarray(x)) + float(x[0, 0])

    with pytest.raises(AdapterError, match="numpy_only raised"):
        gv.verify(gv.jax_function(numpy_only), {"x": POINT["x"]})
