"""Layers with a state: dropout remembers its mask, a linear layer may remember too much."""

import numpy as np

import gradverify as gv


class Dropout:
    def __init__(self, keep=0.7):
        self.keep = keep

    def forward(self, x):
        self.mask = np.random.rand(*x.shape) < self.keep
        return x * self.mask / self.keep

    def backward(self, dout):
        return dout * self.mask / self.keep


class DropoutUnscaled(Dropout):
    def backward(self, dout):
        return dout * self.mask  # forward has divided by keep


class Linear:
    def __init__(self, n_in, n_out, rng):
        self.W = rng.normal(0, 0.5, (n_in, n_out))
        self.dW = np.zeros_like(self.W)

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T


class LinearUpdatesFirst(Linear):
    rate = 0.1

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.W -= self.rate * self.dW
        return dout @ self.W.T  # these are the new weights


@gv.subject
def right_dropout(rng):
    return Dropout(), {"x": rng.standard_normal((6, 5))}


@gv.subject
def wrong_dropout_unscaled(rng):
    return DropoutUnscaled(), {"x": rng.standard_normal((6, 5))}


@gv.subject
def right_linear(rng):
    return Linear(5, 3, rng), {"x": rng.standard_normal((6, 5))}


@gv.subject
def wrong_linear_updates_first(rng):
    return LinearUpdatesFirst(5, 3, rng), {"x": rng.standard_normal((6, 5))}
