"""A two-layer network on scikit-learn's handwritten digits. Both versions learn; one of them has a wrong gradient.

python examples/two_layer_digits.py          trains both and prints their losses
gradverify check examples/two_layer_digits.py  says which is wrong, where and why
"""

import numpy as np
from sklearn.datasets import load_digits

import gradverify as gv


def forward(params, X):
    z1 = X @ params["W1"] + params["b1"]
    a1 = np.tanh(z1)
    scores = a1 @ params["W2"] + params["b2"]
    shifted = scores - scores.max(axis=1, keepdims=True)
    probs = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    return a1, probs


def loss_and_grads(W1, b1, W2, b2, X, y):
    """Mean cross-entropy over the batch, and its gradients."""
    n = len(X)
    a1, probs = forward({"W1": W1, "b1": b1, "W2": W2, "b2": b2}, X)
    loss = -np.log(probs[np.arange(n), y]).mean()

    dscores = probs.copy()
    dscores[np.arange(n), y] -= 1
    dscores /= n
    grads = {"W2": a1.T @ dscores, "b2": dscores.sum(axis=0)}
    dz1 = (dscores @ W2.T) * (1 - a1**2)
    grads["W1"] = X.T @ dz1
    grads["b1"] = dz1.sum(axis=0)
    return loss, grads


def loss_and_grads_no_tanh(W1, b1, W2, b2, X, y):
    """The same, but nobody multiplied by the derivative of tanh."""
    n = len(X)
    a1, probs = forward({"W1": W1, "b1": b1, "W2": W2, "b2": b2}, X)
    loss = -np.log(probs[np.arange(n), y]).mean()

    dscores = probs.copy()
    dscores[np.arange(n), y] -= 1
    dscores /= n
    grads = {"W2": a1.T @ dscores, "b2": dscores.sum(axis=0)}
    dz1 = dscores @ W2.T  # the bug
    grads["W1"] = X.T @ dz1
    grads["b1"] = dz1.sum(axis=0)
    return loss, grads


def initial(rng, hidden=24):
    return {
        "W1": rng.normal(0, 1 / 8, (64, hidden)),
        "b1": rng.normal(0, 0.1, hidden),
        "W2": rng.normal(0, 1 / 5, (hidden, 10)),
        "b2": rng.normal(0, 0.1, 10),
    }


def digits():
    data = load_digits()
    return data.data / 16.0, data.target


def train(step, rng, epochs=20, rate=0.5, batch=50):
    """Loss on all digits before training and after every epoch."""
    X, y = digits()
    params = initial(rng)
    losses = [float(loss_and_grads(**params, X=X, y=y)[0])]
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for start in range(0, len(X), batch):
            rows = order[start : start + batch]
            _, grads = step(**params, X=X[rows], y=y[rows])
            for name in params:
                params[name] = params[name] - rate * grads[name]
        losses.append(float(loss_and_grads(**params, X=X, y=y)[0]))
    return losses


def batch_of(rng):
    X, y = digits()
    rows = rng.choice(len(X), 32, replace=False)
    return {"X": X[rows], "y": y[rows]}


@gv.subject
def right_network(rng):
    return loss_and_grads, initial(rng), batch_of(rng)


@gv.subject
def wrong_network_without_tanh_derivative(rng):
    return loss_and_grads_no_tanh, initial(rng), batch_of(rng)


if __name__ == "__main__":
    for step in (loss_and_grads, loss_and_grads_no_tanh):
        losses = train(step, np.random.default_rng(0))
        said = " -> ".join(f"{losses[i]:.3f}" for i in (0, 5, 10, 20))
        print(f"{step.__name__:24s} loss {said}")
