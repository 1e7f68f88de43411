"""The seven hard scenes of DESIGN section 11: the right gradient and the doubled one."""

import numpy as np

from tests.corpus._items import twins

DOUBLED = {"doubled": ("twice the gradient", ("scale",))}


def _relu_net(scale=1.0, shift=0.0, double=False, cast=None):
    def loss(W1, b1, W2, X, y):
        z = X @ W1 + b1
        h = np.maximum(z, 0)
        r = h @ W2 - y
        n = len(X)
        value = scale * 0.5 * np.sum(r * r) / n + shift
        d = (2 if double else 1) * scale * r / n
        dz = (d @ W2.T) * (z > 0)
        return value, {"W1": X.T @ dz, "b1": dz.sum(axis=0), "W2": h.T @ d}

    return loss


def _point(rng, sizes=(4, 6, 2), n=5):
    i, h, o = sizes
    primals = {"W1": rng.standard_normal((i, h)), "b1": rng.standard_normal(h), "W2": rng.standard_normal((h, o))}
    return primals, {"constants": {"X": rng.standard_normal((n, i)), "y": rng.standard_normal((n, o))}}


@twins(
    "relu_near_kink",
    why="a unit within 1e-6 of its kink",
    bugs=DOUBLED,
    truth="reason: the step would cross the kink; checked against torch in test_corpus_is_sound.py",
)
def relu_near_kink(rng, bug):
    primals, more = _point(rng)
    X = more["constants"]["X"]
    z = X @ primals["W1"] + primals["b1"]
    primals["b1"] -= z[0] - 1e-6 * np.sign(z[0])
    return _relu_net(double=bool(bug)), primals, more


@twins("loss_plus_1e6", why="the loss + 1e6", bugs=DOUBLED, tol=1e-4)
def loss_plus(rng, bug):
    return _relu_net(shift=1e6, double=bool(bug)), *_point(rng)


@twins("loss_times_1e-6", why="the loss x 1e-6", bugs=DOUBLED)
def loss_small(rng, bug):
    return _relu_net(scale=1e-6, double=bool(bug)), *_point(rng)


@twins("loss_times_1e6", why="the loss x 1e6", bugs=DOUBLED)
def loss_large(rng, bug):
    return _relu_net(scale=1e6, double=bool(bug)), *_point(rng)


@twins(
    "float32",
    why="everything in float32",
    bugs=DOUBLED,
    truth="reason: checked against torch in test_corpus_is_sound.py",
)
def float32(rng, bug):
    primals, more = _point(rng)
    primals = {k: v.astype(np.float32) for k, v in primals.items()}
    constants = {k: v.astype(np.float32) for k, v in more["constants"].items()}

    def loss(W1, b1, W2, X, y):
        z = X @ W1 + b1
        h = np.maximum(z, 0)
        r = h @ W2 - y
        n = X.dtype.type(len(X))
        d = r / n * X.dtype.type(2 if bug else 1)
        dz = (d @ W2.T) * (z > 0)
        return X.dtype.type(0.5) * np.sum(r * r) / n, {"W1": X.T @ dz, "b1": dz.sum(axis=0), "W2": h.T @ d}

    return loss, primals, {"constants": constants}


@twins(
    "deep_sigmoid",
    why="thirty sigmoid layers: gradients from 1e-1 down to 1e-22",
    bugs=DOUBLED,
    truth="reason: compared with exact arithmetic in test_corpus_is_sound.py",
)
def deep_sigmoid(rng, bug):
    from tests.corpus.networks import _net_item, _sig

    fn, params, more = _net_item(
        rng, [3] + [4] * 29 + [2], _sig, lambda z, a: _sig(z) * (1 - _sig(z)), "", last_linear=False
    )
    if not bug:
        return fn, params, more

    def doubled(X, y, **weights):
        loss, grads = fn(X=X, y=y, **weights)
        return loss, {k: 2 * v for k, v in grads.items()}

    from tests.corpus.networks import _named

    return _named(doubled, list(params)), params, more


@twins(
    "a_million_parameters",
    why="1e6 parameters",
    bugs=DOUBLED,
    truth="reason: checked against torch in test_corpus_is_sound.py",
)
def million(rng, bug):
    primals, more = _point(rng, sizes=(1000, 980, 20), n=4)
    primals["W1"] /= 30
    primals["W2"] /= 30
    return _relu_net(double=bool(bug)), primals, more
