"""One function that returns the loss and its gradients: logistic regression with weight decay."""

import numpy as np

import gradverify as gv


def logistic_loss(w, b, X, y, decay=0.1):
    p = 1 / (1 + np.exp(-(X @ w + b)))
    loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)) + 0.5 * decay * np.sum(w**2)
    dz = (p - y) / len(y)
    return loss, {"w": X.T @ dz + decay * w, "b": dz.sum()}


def logistic_loss_forgotten_decay(w, b, X, y, decay=0.1):
    loss, grads = logistic_loss(w, b, X, y, decay)
    grads["w"] = grads["w"] - decay * w  # as if the penalty were not in the loss
    return loss, grads


def data(rng):
    return {"X": rng.standard_normal((8, 3)), "y": (rng.uniform(size=8) < 0.5).astype(float)}


@gv.subject
def right_logistic(rng):
    return logistic_loss, {"w": rng.standard_normal(3), "b": rng.standard_normal()}, data(rng)


@gv.subject
def wrong_logistic_forgets_decay(rng):
    return logistic_loss_forgotten_decay, {"w": rng.standard_normal(3), "b": rng.standard_normal()}, data(rng)
