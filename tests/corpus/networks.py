"""Whole networks in the shapes that people give them."""

import itertools

import numpy as np

from tests.corpus._items import item, twins
from tests.corpus.losses import _softmax


def _sig(z):
    return 1 / (1 + np.exp(-z))


@twins(
    "cs231n_two_layer",
    why="affine - relu - affine - softmax, loss(X, y) -> (loss, grads)",
    bugs={
        "relu": ("the relu mask is missing", ("missing-activation-derivative", "wrong-mask")),
        "reg": ("the regularisation of W2 has no gradient", ("missing-term",)),
        "mask": ("the mask is taken from the scores' gradient", ("wrong-mask",)),
        "W1": ("1/N missing in dW1 only", ("missing-batch-mean", "scale")),
    },
)
def cs231n_two_layer(rng, bug):
    N, D, H, C = 5, 4, 6, 3
    reg = 0.05

    def loss(W1, b1, W2, b2, X, y):
        z1 = X.dot(W1) + b1
        h1 = np.maximum(0, z1)
        scores = h1.dot(W2) + b2
        p = _softmax(scores)
        n = X.shape[0]
        data = -np.log(p[np.arange(n), y]).sum() / n
        total = data + 0.5 * reg * (np.sum(W1 * W1) + np.sum(W2 * W2))
        grads = {}
        ds = p.copy()
        ds[np.arange(n), y] -= 1
        ds /= n
        grads["W2"] = h1.T.dot(ds) + (0 if bug == "reg" else reg * W2)
        grads["b2"] = ds.sum(axis=0)
        dh = ds.dot(W2.T)
        if bug == "mask":
            dh = dh * (dh > 0)
        elif bug != "relu":
            dh[z1 <= 0] = 0
        grads["W1"] = X.T.dot(dh) * (n if bug == "W1" else 1) + reg * W1
        grads["b1"] = dh.sum(axis=0)
        return total, grads

    primals = {
        "W1": rng.standard_normal((D, H)),
        "b1": 0.3 * rng.standard_normal(H),
        "W2": rng.standard_normal((H, C)),
        "b2": rng.standard_normal(C),
    }
    return loss, primals, {"constants": {"X": rng.standard_normal((N, D)), "y": np.array([0, 1, 2, 2, 1])}}


@twins(
    "coursera_columns",
    why="samples in columns, gradients named dW1, db1, caches as tuples",
    bugs={
        "m-twice": ("1/m in dW and in dZ", ("double-batch-mean", "scale")),
        "keepdims": ("db summed without the 1/m", ("scale", "missing-batch-mean")),
        "layer": ("W1 used where W2 belongs, hidden by the square", ("off-by-one-layer", "transposed")),
    },
)
def coursera_columns(rng, bug):
    n, m = 3, 5

    def forward(W1, b1, W2, b2, X, Y):
        Z1 = W1 @ X + b1
        A1 = np.tanh(Z1)
        A2 = _sig(W2 @ A1 + b2)
        cost = -np.sum(Y * np.log(A2) + (1 - Y) * np.log(1 - A2)) / Y.shape[1]
        return cost, (X, Y, W1, W2, A1, A2)

    def backward(upstream, cache):
        X, Y, W1, W2, A1, A2 = cache
        m = X.shape[1]
        dZ2 = upstream * (A2 - Y) / (m if bug == "m-twice" else 1)
        dZ1 = ((W1 if bug == "layer" else W2).T @ dZ2) * (1 - A1**2)
        k = 1 if bug == "keepdims" else m
        return {
            "dW2": dZ2 @ A1.T / m,
            "db2": np.sum(dZ2, axis=1, keepdims=True) / k,
            "dW1": dZ1 @ X.T / m,
            "db1": np.sum(dZ1, axis=1, keepdims=True) / k,
        }

    primals = {
        "W1": rng.standard_normal((n, n)),
        "b1": rng.standard_normal((n, 1)),
        "W2": rng.standard_normal((n, n)),
        "b2": rng.standard_normal((n, 1)),
    }
    X, Y = rng.standard_normal((n, m)), rng.integers(0, 2, (n, m)).astype(float)
    return (forward, backward), primals, {"constants": {"X": X, "Y": Y}}


def _mlp(act, dact, last_linear=True, bug=""):
    """A network of any depth as one function -> (loss, gradients); dact takes z and a."""

    def loss_and_grads(X, y, **params):
        depth = len(params) // 2
        a, zs, acts = X, [], [X]
        for layer in range(1, depth + 1):
            z = a @ params[f"W{layer}"].T + params[f"b{layer}"]
            a = z if (layer == depth and last_linear) else act(z)
            zs.append(z)
            acts.append(a)
        n = len(X)
        loss = 0.5 * np.sum((a - y) ** 2) / n
        delta = (a - y) / n
        if not last_linear:
            delta = delta * dact(zs[-1], acts[-1])
        grads = {}
        for layer in range(depth, 0, -1):
            grads[f"W{layer}"] = delta.T @ acts[layer - 1]
            grads[f"b{layer}"] = delta.sum(axis=0)
            if layer > 1:
                delta = delta @ params[f"W{layer}"]
                if not (bug == "skip" and layer == 2):
                    z_at = zs[layer - 1 if bug == "off" and layer < depth else layer - 2]
                    delta = delta * dact(z_at, acts[layer - 1])
        return loss, grads

    return loss_and_grads


def _params(rng, sizes, scale=1.0):
    out = {}
    for layer, (i, o) in enumerate(itertools.pairwise(sizes), 1):
        out[f"W{layer}"] = scale * rng.standard_normal((o, i)) / np.sqrt(i)
        out[f"b{layer}"] = 0.1 * rng.standard_normal(o)
    return out


def _named(fn, names):
    """``fn(X, y, **params)`` with its parameters written out, as a person would."""
    scope = {"fn": fn}
    args = ", ".join(names)
    body = ", ".join(f"{n}={n}" for n in names)
    exec(f"def loss_and_grads({args}, X, y):\n    return fn(X, y, {body})", scope)
    return scope["loss_and_grads"]


def _net_item(rng, sizes, act, dact, bug, scale=1.0, last_linear=True, n=4):
    params = _params(rng, sizes, scale)
    fn = _named(_mlp(act, dact, last_linear, bug), list(params))
    X, y = rng.standard_normal((n, sizes[0])), rng.standard_normal((n, sizes[-1]))
    return fn, params, {"constants": {"X": X, "y": y}}


@twins(
    "deep_tanh_8",
    why="eight layers of tanh",
    bugs={
        "skip": ("the first hidden activation derivative is skipped", ("missing-activation-derivative",)),
        "off": (
            "the activation derivative of the neighbouring layer",
            ("off-by-one-layer", "missing-activation-derivative"),
        ),
    },
)
def deep_tanh(rng, bug):
    sizes = [3] + [4] * 7 + [2]
    return _net_item(rng, sizes, np.tanh, lambda z, a: 1 - np.tanh(z) ** 2, bug)


@twins(
    "deep_relu_6",
    why="six layers of relu",
    bugs={
        "skip": ("one relu mask is skipped", ("missing-activation-derivative", "wrong-mask")),
        "off": (
            "the mask of the neighbouring layer",
            ("off-by-one-layer", "wrong-mask", "missing-activation-derivative"),
        ),
    },
)
def deep_relu(rng, bug):
    return _net_item(rng, [3, 5, 5, 5, 5, 5, 2], lambda z: np.maximum(z, 0), lambda z, a: (z > 0) * 1.0, bug, scale=1.4)


@twins(
    "deep_sigmoid_20",
    why="twenty sigmoid layers: the first gradients are near 1e-13 of the loss and differences cannot see them",
    bugs={
        "skip": (
            "the last link is missing: wrong by a factor of four at 1e-13",
            ("missing-activation-derivative", "scale"),
        )
    },
    truth="reason: compared with exact arithmetic in test_corpus_is_sound.py",
)
def deep_sigmoid(rng, bug):
    sizes = [3] + [4] * 19 + [2]
    return _net_item(rng, sizes, _sig, lambda z, a: _sig(z) * (1 - _sig(z)), bug, last_linear=False)


@twins(
    "deep_sigmoid_20_first_only",
    why="only the first layer's weights are asked for: gradients near 1e-13 and nothing else",
    bugs={"sign": ("the wrong sign at 1e-13", ("sign", "scale"))},
    truth="reason: compared with exact arithmetic in test_corpus_is_sound.py",
)
def deep_sigmoid_first(rng, bug):
    sizes = [3] + [4] * 19 + [2]
    params = _params(rng, sizes)
    X, y = rng.standard_normal((4, 3)), rng.standard_normal((4, 2))
    full = _mlp(_sig, lambda z, a: _sig(z) * (1 - _sig(z)), False)

    def loss_and_grads(W1):
        loss, grads = full(X, y, **{**params, "W1": W1})
        return loss, {"W1": (-1 if bug else 1) * grads["W1"]}

    return loss_and_grads, {"W1": params["W1"]}


@twins(
    "mnielsen",
    why="backprop(x, y) for one column vector, lists of nabla_b and nabla_w, sigmoid_prime(z)",
    bugs={
        "prime-of-a": ("sigmoid_prime is given the activation", ("derivative-of-activation-not-preactivation",)),
        "zs": ("zs[-l + 1] for zs[-l]", ("off-by-one-layer", "missing-activation-derivative")),
    },
)
def mnielsen(rng, bug):
    sizes = [3, 4, 4, 4]

    def sigmoid_prime(z):
        return _sig(z) * (1 - _sig(z))

    def backprop(weights, biases, x, y):
        nabla_b = [np.zeros(b.shape) for b in biases]
        nabla_w = [np.zeros(w.shape) for w in weights]
        activation, activations, zs = x, [x], []
        for b, w in zip(biases, weights, strict=True):
            z = np.dot(w, activation) + b
            zs.append(z)
            activation = _sig(z)
            activations.append(activation)
        delta = (activations[-1] - y) * sigmoid_prime(zs[-1])
        nabla_b[-1] = delta
        nabla_w[-1] = np.dot(delta, activations[-2].transpose())
        for layer in range(2, len(sizes)):
            z = zs[-layer + 1] if bug == "zs" else (activations[-layer] if bug else zs[-layer])
            delta = np.dot(weights[-layer + 1].transpose(), delta) * sigmoid_prime(z)
            nabla_b[-layer] = delta
            nabla_w[-layer] = np.dot(delta, activations[-layer - 1].transpose())
        return activation, nabla_b, nabla_w

    def loss(w1, w2, w3, b1, b2, b3, x, y):
        a, nb, nw = backprop([w1, w2, w3], [b1, b2, b3], x, y)
        return 0.5 * np.sum((a - y) ** 2), (*nw, *nb)

    ws = {f"w{i}": rng.standard_normal((o, n)) for i, (n, o) in enumerate(itertools.pairwise(sizes), 1)}
    bs = {f"b{i}": rng.standard_normal((o, 1)) for i, o in enumerate(sizes[1:], 1)}
    return loss, {**ws, **bs}, {"constants": {"x": rng.standard_normal((3, 1)), "y": rng.random((4, 1))}}


@twins(
    "layers_list",
    why="a container with a list of layer objects; the input gradient comes back through all",
    bugs={"order": ("backward runs the middle layers in the wrong order", ("off-by-one-layer", "permuted"))},
)
def layers_list(rng, bug):
    class Affine:
        def __init__(self, i, o):
            self.W, self.b = rng.standard_normal((i, o)), rng.standard_normal(o)

        def forward(self, x):
            self.x = x
            return x @ self.W + self.b

        def backward(self, d):
            self.dW, self.db = self.x.T @ d, d.sum(axis=0)
            return d @ self.W.T

    class Tanh:
        def forward(self, x):
            self.out = np.tanh(x)
            return self.out

        def backward(self, d):
            return d * (1 - self.out**2)

    class Container:
        def __init__(self):
            self.layers = [Affine(4, 4), Tanh(), Affine(4, 4), Tanh(), Affine(4, 4)]

        def forward(self, x):
            for layer in self.layers:
                x = layer.forward(x)
            return x

        def backward(self, dout):
            for k in [4, 1, 2, 3, 0] if bug else [4, 3, 2, 1, 0]:
                dout = self.layers[k].backward(dout)
            return dout

    return Container(), {"x": rng.standard_normal((3, 4))}


@twins(
    "network_object",
    why="an object whose backward(dout) leaves every gradient in self.grads",
    bugs={"shared": ("b1 gets the gradient of b2, hidden by equal widths", ("off-by-one-layer",))},
)
def network_object(rng, bug):
    class Net:
        def __init__(self):
            self.params = _params(rng, [3, 4, 4])
            self.grads = {}

        def forward(self, x):
            self.x = x
            self.a1 = np.tanh(x @ self.params["W1"].T + self.params["b1"])
            return self.a1 @ self.params["W2"].T + self.params["b2"]

        def backward(self, d):
            self.grads["W2"] = d.T @ self.a1
            self.grads["b2"] = d.sum(axis=0)
            dz = (d @ self.params["W2"]) * (1 - self.a1**2)
            self.grads["W1"] = dz.T @ self.x
            self.grads["b1"] = d.sum(axis=0) if bug else dz.sum(axis=0)
            return dz @ self.params["W1"]

    return Net(), {"x": rng.standard_normal((5, 3))}


@twins(
    "autoencoder_tied",
    why="tied weights: W gets two contributions",
    bugs={
        "decoder": ("only the encoder's share", ("missing-term",)),
        "transpose": ("the decoder's share is not transposed, hidden by the square", ("transposed",)),
    },
)
def autoencoder_tied(rng, bug):
    def forward(x, W):
        h = np.tanh(x @ W)
        return 0.5 * np.mean(np.sum((h @ W.T - x) ** 2, axis=1)), (x, W, h)

    def backward(g, cache):
        x, W, h = cache
        r = g * (h @ W.T - x) / len(x)
        dz = (r @ W) * (1 - h**2)
        dec = {"decoder": 0, "transpose": h.T @ r}.get(bug, r.T @ h)
        return dz @ W.T - r, x.T @ dz + dec

    return (forward, backward), {"x": rng.standard_normal((5, 3)), "W": rng.standard_normal((3, 3)) / 2}


@twins("siamese", why="one weight, two inputs", bugs={"second": ("the second branch is forgotten", ("missing-term",))})
def siamese(rng, bug):
    def forward(a, b, W):
        ha, hb = np.tanh(a @ W), np.tanh(b @ W)
        return np.sum((ha - hb) ** 2, axis=1), (a, b, W, ha, hb)

    def backward(g, cache):
        a, b, W, ha, hb = cache
        d = 2 * g[:, None] * (ha - hb)
        za, zb = d * (1 - ha**2), -d * (1 - hb**2)
        return za @ W.T, zb @ W.T, a.T @ za + (0 if bug else b.T @ zb)

    return (forward, backward), {
        "a": rng.standard_normal((3, 4)),
        "b": rng.standard_normal((3, 4)),
        "W": rng.standard_normal((4, 2)),
    }


@item("dead_relu_net", why="every unit is dead: the gradient is truly zero")
def dead_relu_net(rng):
    def forward(x, W, b):
        z = x @ W + b
        return np.maximum(z, 0), (x, W, z)

    def backward(g, cache):
        x, W, z = cache
        dz = g * (z > 0)
        return dz @ W.T, x.T @ dz, dz.sum(axis=0)

    return (forward, backward), {
        "x": rng.standard_normal((3, 2)),
        "W": rng.standard_normal((2, 4)),
        "b": np.full(4, -20.0),
    }


@twins(
    "linear_regression_loop",
    why="a Python loop over samples",
    bugs={"last": ("= for += over samples", ("dropped-samples",))},
)
def linear_regression_loop(rng, bug):
    X, y = rng.standard_normal((6, 3)), rng.standard_normal(6)

    def loss(w, X, y):
        total, grad = 0.0, np.zeros_like(w)
        for xi, yi in zip(X, y, strict=True):
            r = xi @ w - yi
            total = total + r**2 / 2
            grad = r * xi if bug else grad + r * xi
        return total, grad

    return loss, {"w": rng.standard_normal(3)}, {"constants": {"X": X, "y": y}}
