"""What every pullback promises, whatever the op."""

import numpy as np
import pytest

from reference_impl import OPS
from tests.reference_impl.op_cases import CASES, IDS

every_case = pytest.mark.parametrize("case", CASES, ids=IDS)


def run(case, primals=None):
    out, pullback = OPS[case.op].vjp({**(primals or case.arguments()), **case.constants})
    return out, pullback, np.random.default_rng(1).standard_normal(out.shape)


def arrays(gradients):
    return {k: g for k, g in gradients.items() if g is not None}


@every_case
def test_nothing_that_was_given_is_changed(case):
    primals = case.arguments()
    out, pullback, upstream = run(case, primals)
    before = {k: v.copy() for k, v in {**primals, "out": out, "upstream": upstream}.items()}
    pullback(upstream)
    for name, array in {**primals, "out": out, "upstream": upstream}.items():
        assert np.array_equal(array, before[name]), name


@every_case
def test_read_only_arrays_are_enough(case):
    primals = case.arguments()
    for array in primals.values():
        array.flags.writeable = False
    _, pullback, upstream = run(case, primals)
    upstream.flags.writeable = False
    gradients = arrays(pullback(upstream))
    assert gradients
    assert all(g.flags.writeable for g in gradients.values())


@every_case
def test_no_two_arrays_share_memory(case):
    primals = case.arguments()
    out, pullback, upstream = run(case, primals)
    first, second = arrays(pullback(upstream)), arrays(pullback(upstream))
    fresh = {"out": out, **{f"d{k}": v for k, v in first.items()}, **{f"d{k} again": v for k, v in second.items()}}
    everything = {**primals, "upstream": upstream, **fresh}
    shared = [(a, b) for a in fresh for b in everything if a != b and np.shares_memory(fresh[a], everything[b])]
    assert shared == []


@every_case
def test_the_pullback_gives_the_same_bits_twice(case):
    _, pullback, upstream = run(case)
    first, second = pullback(upstream), pullback(upstream)
    for name, gradient in arrays(first).items():
        assert np.array_equal(gradient, second[name]), name


@every_case
def test_the_pullback_is_linear(case):
    out, pullback, u = run(case)
    v = np.random.default_rng(2).standard_normal(out.shape)
    joint, of_u, of_v = (arrays(pullback(w)) for w in (2 * u - 3 * v, u, v))
    for name, gradient in joint.items():
        scale = np.abs(of_u[name]).max() + np.abs(of_v[name]).max()
        assert np.allclose(gradient, 2 * of_u[name] - 3 * of_v[name], rtol=0, atol=1e-14 * scale), name


@every_case
def test_outputs_and_gradients_are_arrays_shaped_like_out_and_primals(case):
    primals = case.arguments()
    out, pullback, upstream = run(case, primals)
    assert isinstance(out, np.ndarray)
    for name, gradient in arrays(pullback(upstream)).items():
        assert isinstance(gradient, np.ndarray), name
        assert gradient.shape == primals[name].shape, name


LAYOUTS = {
    "fortran": lambda x: np.array(x, order="F"),
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
    "reversed": lambda x: x[::-1].copy()[::-1] if x.ndim else x,
    "transposed": lambda x: x.T.copy().T,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@every_case
def test_any_memory_layout_will_do(case, layout):
    out, pullback, upstream = run(case)
    want = pullback(upstream)
    other, pullback, _ = run(case, {k: LAYOUTS[layout](v) for k, v in case.arguments().items()})
    assert np.allclose(other, out, rtol=1e-13, atol=1e-15)
    got = pullback(LAYOUTS[layout](upstream))
    for name, gradient in arrays(got).items():
        assert np.allclose(gradient, want[name], rtol=1e-12, atol=1e-14), name


@every_case
def test_an_upstream_of_another_shape_is_refused(case):
    out, pullback, _ = run(case)
    with pytest.raises(ValueError, match=r"^upstream: shape \(7,.*, expected .*, the shape of the op's output$"):
        pullback(np.ones((7, *out.shape)))


ELEMENTWISE = [name for name, op in OPS.items() if op.axes == (0,) and name != "dropout"]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_element_wise_ops_take_a_number_and_give_arrays_of_no_axes(name):
    constants = {"limit": 1.0} if name == "clip_by_value" else {}
    out, pullback = OPS[name].fn(0.5, **constants)
    (gradient,) = pullback(1.0)
    assert isinstance(out, np.ndarray)
    assert isinstance(gradient, np.ndarray)
    assert out.shape == gradient.shape == ()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_element_wise_ops_take_empty_arrays(name):
    constants = {"limit": 1.0} if name == "clip_by_value" else {}
    out, pullback = OPS[name].fn(np.zeros((0, 3)), **constants)
    assert out.shape == pullback(out)[0].shape == (0, 3)


#: op -> the primals that have the batch, and on which axis
BATCHED = {
    "affine": {"A": 0},
    "softmax": {"z": 0},
    "log_softmax": {"z": 0},
    "batch_norm_eval": {"X": 0},
    "layer_norm": {"X": 0},
    "residual_block": {"X": 0},
    "deep_network": {"X": 0},
    "conv2d": {"X": 0},
    "max_pool2d": {"X": 0},
    "mean_pool2d": {"X": 0},
    "embedding": {"indices": 0},
    "rnn": {"X": 1, "h0": 0},
    "lstm": {"X": 1, "h0": 0, "c0": 0},
    "attention": {"Q": 0},
}


@pytest.mark.parametrize("op", BATCHED)
def test_an_empty_batch_gives_zero_gradients_for_the_parameters(op):
    case = next(c for c in CASES if c.op == op)
    primals = case.arguments()
    empty = {k: np.take(primals[k], [], axis=axis) for k, axis in BATCHED[op].items()}
    out, pullback, upstream = run(case, {**primals, **empty})
    assert out.size == 0
    for name, gradient in arrays(pullback(upstream)).items():
        assert gradient.shape == (empty.get(name, primals[name])).shape
        assert not gradient.any()


@pytest.mark.parametrize("op", ["half_squared_error", "mse", "huber", "bce_with_logits", "softmax_cross_entropy"])
@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_the_sum_of_an_empty_batch_is_zero(op, reduction):
    labels = np.zeros(0, int) if op == "softmax_cross_entropy" else np.zeros((0, 3))
    out, pullback = OPS[op].fn(np.zeros((0, 3)), labels, reduction=reduction)
    assert not out.any()
    assert pullback(out)[0].shape == (0, 3)
