"""A layer class that leaves its gradients on itself: dW and db beside W and b."""

import numpy as np

import gradverify as gv


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def sigmoid_prime(z):
    return sigmoid(z) * (1 - sigmoid(z))


class SigmoidLayer:
    def __init__(self, n_in, n_out, rng):
        self.W = rng.normal(0, 0.5, (n_in, n_out))
        self.b = rng.normal(0, 0.5, n_out)

    def forward(self, x):
        self.x = x
        self.z = x @ self.W + self.b
        self.a = sigmoid(self.z)
        return self.a

    def backward(self, dout):
        dz = dout * sigmoid_prime(self.z)
        self.dW = self.x.T @ dz
        self.db = dz.sum(axis=0)
        return dz @ self.W.T


class SigmoidLayerPrimeOfActivation(SigmoidLayer):
    def backward(self, dout):
        dz = dout * sigmoid_prime(self.a)  # sigmoid_prime wants z
        self.dW = self.x.T @ dz
        self.db = dz.sum(axis=0)
        return dz @ self.W.T


@gv.subject
def right_layer(rng):
    return SigmoidLayer(4, 3, rng), {"x": rng.standard_normal((6, 4))}


@gv.subject
def wrong_layer_prime_of_activation(rng):
    return SigmoidLayerPrimeOfActivation(4, 3, rng), {"x": rng.standard_normal((6, 4))}
