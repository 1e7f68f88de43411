"""At a second point the memory of the first one shows; what has a structure keeps it there."""

import functools

import numpy as np
import pytest

import gradverify as gv
from gradverify.checks.second_point import _elsewhere

RNG = np.random.default_rng(0)
X, W = RNG.standard_normal((4, 3)), RNG.standard_normal((3, 2))


def rows(report, check="second-point"):
    return {f.verdict.value for f in report.findings if f.check == check}


def relu_remembers_its_mask():
    masks = {}

    def backward(u, x):
        return u * masks.setdefault(x.shape, x > 0)

    return (lambda x: (np.maximum(x, 0), x), backward), {"x": X}


def sine_remembers_in_a_default():
    def backward(u, x, memo=[]):  # noqa: B006 - the bug on trial
        if not memo:
            memo.append(np.cos(x))
        return u * memo[0] if memo[0].shape == x.shape else u * np.cos(x)

    return (lambda x: (np.sin(x), x), backward), {"x": X}


def least_squares_remembers_by_size():
    memo = {}

    def loss(w, x, y):
        r = x @ w - y
        return 0.5 * r @ r, {"w": memo.setdefault(w.size, x.T @ r).copy()}

    return loss, {"w": W[:, 0]}, {"constants": {"x": X, "y": X[:, 0]}}


def tanh_layer_has_a_cache_by_shape():
    points = {}

    @functools.cache
    def slope(shape):
        x, w = points[shape]
        return 1 - np.tanh(x @ w) ** 2

    def forward(x, w):
        points.setdefault(x.shape + w.shape, (x.copy(), w.copy()))
        return np.tanh(x @ w), (x, w)

    def backward(u, cache):
        x, w = cache
        d = u * slope(x.shape + w.shape)
        return d @ w.T, x.T @ d

    return (forward, backward), {"x": X, "w": W}


def torch_function_keeps_it_on_its_class():
    import torch

    class Relu(torch.autograd.Function):
        masks = dict()  # noqa: C408, RUF012 - the bug on trial

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * Relu.masks.setdefault(x.shape, x > 0)

    return Relu, {"x": X}


def verified(made):
    subject, primals, more = made if len(made) == 3 else (*made, {})
    return gv.verify(subject, primals, **more)


@pytest.mark.parametrize(
    "make",
    [
        relu_remembers_its_mask,
        sine_remembers_in_a_default,
        least_squares_remembers_by_size,
        tanh_layer_has_a_cache_by_shape,
        torch_function_keeps_it_on_its_class,
    ],
)
def test_what_is_remembered_by_shape_is_found_and_named(make):
    report = verified(make())
    assert report.verdict == "fail"
    assert "second-point" in {f.check for f in report.findings if f.verdict.value == "fail"}
    assert report.causes[0] == "stale-state"


def test_the_memory_is_named_and_holds_afterwards_what_it_held():
    memo = {}

    def backward(u, x):
        return u * memo.setdefault(x.shape, x > 0)

    report = gv.verify((lambda x: (np.maximum(x, 0), x), backward), {"x": X}, checks=["second-point"])
    assert any("`memo` is emptied" in f.why for f in report.findings)
    assert np.array_equal(memo[X.shape], X > 0)


def test_a_memo_that_is_keyed_by_what_it_depends_on_is_left_alone():
    positions = {}

    def forward(x):
        p = positions.setdefault(x.shape, np.arange(x.size).reshape(x.shape) / x.size)
        return np.tanh(x + p), (x, p)

    def backward(u, cache):
        x, p = cache
        return u * (1 - np.tanh(x + p) ** 2)

    assert rows(verified(((forward, backward), {"x": X}))) == {"pass"}


def test_a_second_point_that_is_refused_is_left_alone():
    def forward(x):
        if not np.array_equal(x, X):
            raise ValueError("only this x")
        return x**2, x

    report = gv.verify((forward, lambda u, x: 2 * u * x), {"x": X}, checks=["shape", "second-point"])
    assert "fail" not in rows(report)


def test_where_the_oracles_do_not_know_at_a_second_point_nothing_is_said():
    def forward(x):
        return 1e9 + 1e-9 * np.sum(x**2), x

    report = gv.verify(
        (forward, lambda u, x: 2e-9 * u * x), {"x": X}, oracles=["finite-differences"],
        checks=["second-point"],
    )  # fmt: skip
    assert "inconclusive" not in rows(report)


ROTATION = np.linalg.qr(RNG.standard_normal((3, 3)))[0]
COVARIANCE = X.T @ X
KEPT = {
    "rows of probabilities": (RNG.dirichlet(np.ones(3), 4), lambda v: np.allclose(v.sum(axis=1), 1) and (v >= 0).all()),
    "unit rows": (X / np.linalg.norm(X, axis=1, keepdims=True), lambda v: np.allclose(np.linalg.norm(v, axis=1), 1)),
    "a sorted array": (np.sort(RNG.standard_normal(6)), lambda v: (np.diff(v) >= 0).all()),
    "a rotation": (ROTATION, lambda v: np.allclose(v @ v.T, np.eye(3))),
    "a covariance": (COVARIANCE, lambda v: np.array_equal(v, v.T) and np.linalg.eigvalsh(v).min() > 0),
    "a triangular factor": (np.linalg.cholesky(COVARIANCE), lambda v: not np.triu(v, 1).any()),
    "a mask": ((X > 0).astype(float), lambda v: np.isin(v, (0, 1)).all()),
    "a positive array": (np.abs(X) + 0.1, lambda v: (v > 0).all()),
    "zeros": (np.where(X > 0, X, 0.0), lambda v: np.sum(v == 0) == np.sum(X <= 0)),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("seed", range(5))
def test_a_structure_is_kept_at_the_second_point(name, seed):
    given, keeps = KEPT[name]
    assert keeps(given)
    assert keeps(_elsewhere(given, np.random.default_rng(seed), ordered=False))


def test_signs_change_their_places():
    assert np.any(np.sign(_elsewhere(X, np.random.default_rng(0), ordered=False)) != np.sign(X))
    assert np.array_equal(np.sign(_elsewhere(X, np.random.default_rng(0), ordered=True)), np.sign(X))


class LeakyLayer:
    """Right unless told what to keep from the first forward of a shape."""

    def __init__(self, keeps=""):
        self.W, self.mask, self.xs, self.keeps = RNG.standard_normal((3, 3)), None, None, keeps
        self.dW = np.zeros((3, 3))

    def forward(self, x):
        z = x @ self.W
        if self.keeps != "mask" or self.mask is None or self.mask.shape != z.shape:
            self.mask = z > 0
        if self.keeps != "input" or self.xs is None or self.xs.shape != x.shape:
            self.xs = x
        return np.where(z > 0, z, 0.1 * z)

    def backward(self, u):
        g = np.where(self.mask, u, 0.1 * u)
        dW = self.xs.T @ g
        self.dW = self.dW + dW if self.keeps == "sum" else dW
        return g @ self.W.T


@pytest.mark.parametrize("keeps", ["mask", "input"])
def test_an_object_that_keeps_its_first_point_fails_at_the_second(keeps):
    report = gv.verify(LeakyLayer(keeps), {"x": X})
    assert "fail" in rows(report)
    assert report.causes[0] == "stale-state"


@pytest.mark.parametrize("keeps", ["", "sum"])
def test_an_object_that_keeps_its_gradients_alone_passes_at_the_second_point(keeps):
    assert gv.verify(LeakyLayer(keeps), {"x": X}).verdict == "pass"


class Rnn:
    """Keeps its hidden state from call to call."""

    def __init__(self):
        self.W, self.h = RNG.standard_normal((3, 3)), np.zeros(3)

    def forward(self, x):
        self.x, self.before = x, self.h
        self.h = np.tanh(x + self.W @ self.before)
        return self.h

    def backward(self, u):
        z = u * (1 - self.h**2)
        self.dW = np.outer(z, self.before)
        return z


def test_an_object_whose_output_has_a_memory_is_not_asked_for_its_gradient_twice():
    assert gv.verify(Rnn(), {"x": X[0]}).verdict == "pass"


def test_a_matrix_that_is_symmetric_to_within_rounding_stays_so():
    q = np.linalg.qr(RNG.standard_normal((4, 4)))[0]
    a = q @ np.diag([1.0, 1.5, 2.0, 3.0]) @ q.T
    assert not np.array_equal(a, a.T)
    moved = _elsewhere(a, np.random.default_rng(0), ordered=False)
    assert np.allclose(moved, moved.T, rtol=0, atol=1e-15 * 8)


def test_a_thousandth_of_a_gradient_in_single_precision_shows_at_a_second_point():
    first = {}

    def backward(u, x):
        known = first.setdefault(x.shape, x[0, 0])
        return u * np.cos(x) * np.float32(1 + 1e-3 * (known != x[0, 0]))

    subject = (lambda x: (np.sin(x), x), backward)
    assert "fail" in rows(gv.verify(subject, {"x": X.astype(np.float32)}))


def huber(r, delta=2.5):
    return np.where(np.abs(r) <= delta, 0.5 * r**2, delta * (np.abs(r) - 0.5 * delta)), r


def test_a_branch_that_no_entry_takes_is_taken_at_another_size():
    inside = {"r": RNG.uniform(-2, 2, (4, 3))}
    assert gv.verify((huber, lambda u, r: u * np.clip(r, -2.5, 2.5)), inside).verdict == "pass"
    report = gv.verify((huber, lambda u, r: u * r), inside)
    assert report.verdict == "fail"
    assert "comparison comes out the other way" in str(report)


def test_probabilities_are_of_no_other_size():
    def entropy(p):
        return np.where(p > 0.999, 0.0, -p * np.log(p)), p

    shares = RNG.dirichlet(np.ones(3), 4)
    assert rows(gv.verify((entropy, lambda u, p: -u * (np.log(p) + 1)), {"p": shares})) == {"pass"}


class Transposing:
    """Keeps the transpose of its weights: a copy of the first ones, or a view, or what they are now."""

    def __init__(self, keeps):
        self.W, self.turned, self.keeps = RNG.standard_normal((3, 2)), None, keeps

    def forward(self, x):
        if self.turned is None or self.keeps == "now":
            self.turned = self.W.T.copy() if self.keeps == "copy" else self.W.T
        self.x = x
        return x @ self.W

    def backward(self, u):
        self.dW = self.x.T @ u
        return u @ self.turned


@pytest.mark.parametrize(("keeps", "verdict"), [("now", "pass"), ("view", "pass"), ("copy", "fail")])
def test_weights_that_were_updated_are_those_of_the_next_backward(keeps, verdict):
    report = gv.verify(Transposing(keeps), {"x": X})
    assert report.verdict == verdict, str(report)
    assert verdict == "pass" or report.causes[0] == "stale-state"
