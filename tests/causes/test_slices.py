"""One factor for every index along an axis, clipping, an epsilon, and what is not a float32 cast."""

import numpy as np
import pytest

import gradverify as gv


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def norm(x, eps=1e-3):
    r = np.sqrt((x**2).mean(1, keepdims=True) + eps)
    return x / r, (x, r, eps)


def test_a_weight_per_class_that_is_left_out_is_named_with_the_weights(rng):
    w = rng.uniform(0.5, 2, 4)

    def weighted(x, w):
        return w * np.tanh(x), x

    def backward(u, x):
        return u * (1 - np.tanh(x) ** 2)

    report = gv.verify((weighted, backward), {"x": rng.standard_normal((5, 4))}, constants={"w": w})
    assert "scale" in report.causes
    assert "1 / w" in str(report)


def test_an_epsilon_that_backward_leaves_out_is_no_float32_cast(rng):
    def backward(u, cache):
        x, r, eps = cache
        s = np.sqrt(r**2 - eps)
        return u / s - x * (u * x).mean(1, keepdims=True) / s**3

    report = gv.verify((lambda x: norm(x, 1e-6), backward), {"x": rng.standard_normal((5, 4))})
    assert report.verdict == "fail"
    assert "dtype" not in report.causes


def test_a_difference_quotient_in_a_backward_is_no_float32_cast(rng):
    def backward(u, x):
        return u * (np.sin(x + 1e-7) - np.sin(x)) / 1e-7

    report = gv.verify((lambda x: (np.sin(x), x), backward), {"x": rng.standard_normal((5, 4))})
    assert report.verdict == "fail"
    assert "dtype" not in report.causes


def test_a_float32_cast_is_still_named(rng):
    def backward(u, x):
        return (u * np.cos(x)).astype(np.float32).astype(float)

    report = gv.verify((lambda x: (np.sin(x), x), backward), {"x": rng.standard_normal((5, 4))})
    assert report.causes[0] == "dtype"


def test_an_outer_product_of_a_wrong_delta_is_not_said_to_be_scaled_by_rows(rng):
    x = rng.standard_normal(4)

    def backward(u, W):
        return np.outer(u * (W @ x), x)

    report = gv.verify((lambda W: (np.tanh(W @ x), W), backward), {"W": rng.standard_normal((3, 4))})
    assert report.verdict == "fail"
    assert "scale" not in report.causes


@pytest.mark.parametrize("bound", [0.5, 1.0])
def test_a_gradient_that_backward_clips_is_said_to_be_clipped(rng, bound):
    def backward(u, x):
        return np.clip(3 * u * x**2, -bound, bound)

    report = gv.verify((lambda x: (x**3, x), backward), {"x": rng.standard_normal((5, 4))})
    assert report.causes[0] == "clipped-in-backward"
    assert f"every entry of it is {'1/2' if bound == 0.5 else '1'} or" in str(report)


def test_a_gradient_that_is_clipped_where_it_is_huge_alone_is_said_to_be_clipped(rng):
    report = gv.verify(
        (lambda x: (x**3, x), lambda u, x: np.clip(3 * u * x**2, -1e3, 1e3)), {"x": rng.standard_normal((5, 4))}
    )
    assert report.causes == ["clipped-in-backward"]


def test_a_gradient_that_backward_divides_by_its_norm_is_no_other_factor_and_no_state(rng):
    def backward(u, x):
        d = 3 * u * x**2
        return d / max(1.0, np.linalg.norm(d))

    report = gv.verify((lambda x: (x**3, x), backward), {"x": rng.standard_normal((5, 4))})
    assert report.causes == ["clipped-in-backward"]
    assert "its norm is 1" in str(report)


def test_a_loss_without_an_upstream_that_clips_is_named_by_its_numbers(rng):
    def loss(x):
        return np.sum(x**4), np.clip(4 * x**3, -1, 1)

    report = gv.verify(loss, {"x": rng.standard_normal((5, 4))})
    assert report.causes[0] == "scale"
    assert "the gradient is clipped" in str(report)


def test_one_factor_for_three_scalars_is_a_factor_and_no_mask(rng):
    def loss(a, b, c):
        K = np.tril(np.array([[a, 0.0], [b, c]]))
        L = K @ K.T
        return np.sum(L**2), {k: 2 * v for k, v in _square(a, b, c).items()}

    report = gv.verify(loss, {"a": np.array(1.3), "b": np.array(0.4), "c": np.array(0.8)})
    assert report.causes[0] == "scale"


def _square(a, b, c):
    K = np.array([[a, 0.0], [b, c]])
    g = 4 * K @ K.T @ K
    return {"a": g[0, 0], "b": g[1, 0], "c": g[1, 1]}


def test_an_order_that_is_not_undone_is_permuted(rng):
    report = gv.verify(
        (lambda x: (np.tanh(x[:, ::-1]), x), lambda u, x: u * (1 - np.tanh(x[:, ::-1]) ** 2)),
        {"x": rng.standard_normal((4, 3))},
    )
    assert report.causes[0] == "permuted"


@pytest.mark.parametrize("written", [lambda a: 1 - a, lambda a: a * (1 - a)])
def test_a_derivative_of_tanh_that_is_almost_right_is_named(rng, written):
    def backward(u, cache):
        x, W, y = cache
        d = u * written(y)
        return d @ W.T, x.T @ d

    report = gv.verify(
        (lambda x, W: (np.tanh(x @ W), (x, W, np.tanh(x @ W))), backward),
        {"x": rng.standard_normal((4, 3)), "W": rng.standard_normal((3, 2))},
    )
    assert report.causes[0] == "missing-activation-derivative"


def test_an_argument_in_place_of_the_activation_is_named(rng):
    def forward(x, W1, W2):
        z = x @ W1
        return np.tanh(z) @ W2, (x, z, W1, W2)

    def backward(u, cache):
        x, z, W1, W2 = cache
        d = u @ W2.T * (1 - np.tanh(z) ** 2)
        return d @ W1.T, x.T @ d, z.T @ u

    draw = rng.standard_normal
    report = gv.verify((forward, backward), {"x": draw((5, 3)), "W1": draw((3, 4)), "W2": draw((4, 2))})
    assert report.causes[0] == "off-by-one-layer"
    assert "the argument of tanh in place of its value" in str(report)


def test_a_factor_that_is_nearly_one_is_said_by_what_it_is_off(rng):
    def backward(u, x):
        return (1 + 1e-7) * 3 * u * x**2

    report = gv.verify((lambda x: (x**3, x), backward), {"x": rng.standard_normal((5, 4))})
    assert "got / want = 1 + 1e-07" in str(report)
