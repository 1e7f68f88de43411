"""Layers as functions with a cache, in the manner of the CS231n assignments; each with a mistake that people make."""

import numpy as np

import gradverify as gv


def affine_forward(x, w, b):
    out = x.reshape(x.shape[0], -1).dot(w) + b
    return out, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T.dot(dout)
    db = dout.sum(axis=0)
    return dx, dw, db


def affine_backward_averaged(dout, cache):
    x, w, _ = cache
    N = x.shape[0]
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(N, -1).T.dot(dout) / N  # the loss has divided by N already
    db = dout.sum(axis=0) / N
    return dx, dw, db


def relu_forward(x):
    return np.maximum(0, x), x


def relu_backward(dout, cache):
    x = cache
    return dout * (x > 0)


def relu_backward_masks_dout(dout, cache):
    dx = dout.copy()
    dx[dout <= 0] = 0  # the mask belongs to x
    return dx


def softmax_loss(x, y):
    shifted = x - x.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    N = x.shape[0]
    loss = -log_probs[np.arange(N), y].mean()
    dx = np.exp(log_probs)
    dx[np.arange(N), y] -= 1
    return loss, dx / N


def softmax_loss_summed_gradient(x, y):
    loss, dx = softmax_loss(x, y)
    return loss, dx * x.shape[0]  # the loss is a mean, this is the gradient of a sum


def affine_point(rng):
    return {
        "x": rng.standard_normal((5, 2, 3)),
        "w": rng.standard_normal((6, 4)),
        "b": rng.standard_normal(4),
    }


@gv.subject
def right_affine(rng):
    return (affine_forward, affine_backward), affine_point(rng)


@gv.subject
def wrong_affine_averaged_twice(rng):
    return (affine_forward, affine_backward_averaged), affine_point(rng)


@gv.subject
def right_relu(rng):
    return (relu_forward, relu_backward), {"x": rng.standard_normal((5, 4))}


@gv.subject
def wrong_relu_mask_of_dout(rng):
    return (relu_forward, relu_backward_masks_dout), {"x": rng.standard_normal((5, 4))}


@gv.subject
def right_softmax_loss(rng):
    return softmax_loss, {"x": rng.standard_normal((5, 3))}, {"y": rng.integers(0, 3, 5)}


@gv.subject
def wrong_softmax_loss_not_averaged(rng):
    return softmax_loss_summed_gradient, {"x": rng.standard_normal((5, 3))}, {"y": rng.integers(0, 3, 5)}
