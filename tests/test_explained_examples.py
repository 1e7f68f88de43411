"""The right and the wrong line that ``gradverify explain`` shows of a cause, run: one passes, the other is named so.

A scene is code with ``@@`` where the line belongs. What follows ``  #`` in an example is for the reader.
"""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

import gradverify as gv
from gradverify.commands._examples import CAUSES

RNG = np.random.default_rng(0)
X, W, Y = RNG.standard_normal((5, 4)), RNG.standard_normal((3, 4)), RNG.standard_normal((5, 3))

LINEAR = """
    def forward(x, W, b):
        return x @ W.T + b, (x, W)
    def backward(delta, cache):
        x, W = cache
        dx, dW, db = delta @ W, delta.T @ x, delta.sum(axis=0)
        @@
        return {"x": dx, "W": dW, "b": db}
"""
TANH = """
    def tanh_prime(v):
        return 1 - np.tanh(v) ** 2
    def forward(x, W):
        z = x @ W.T
        return np.tanh(z), (x, W, z, np.tanh(z))
    def backward(da, cache):
        x, W, z, a = cache
        @@
        return {"x": dz @ W, "W": dz.T @ x}
"""
CLASSIFIER = """
    def softmax(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    def forward(x, W, y):
        p = softmax(x @ W.T)
        return -np.mean(np.sum(y * np.log(p), axis=1)), (x, W, p, y)
    def backward(u, cache):
        x, W, p, y = cache
        B = len(x)
        dW = None
        @@
        dW = delta.T @ x if dW is None else dW
        return {"x": u * delta @ W, "W": u * dW}
"""
SOFTMAX = """
    def softmax(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    def forward(z):
        return softmax(z), softmax(z)
    def backward(u, s):
        @@
        return {"z": dz}
"""
SQUARES = """
    def forward(p, y):
        return HALF * (p - y) ** 2, (p, y)
    def backward(u, cache):
        p, y = cache
        @@
        return {"p": dx}
"""
RELU = """
    def forward(x):
        return np.maximum(x, 0), x
    def backward(u, x):
        @@
"""
POINT = {"x": X, "W": W, "b": RNG.standard_normal(3)}
HOT = np.eye(3)[[0, 2, 1, 1, 2]]

#: causes whose example needs more than one line around it: an engine, a network of many layers, a sum that cancels
ELSEWHERE = {"needs-grad-subset", "noise", "off-by-one-layer"}

#: cause -> (code, primals, constants)
SCENES = {
    "accumulated": (
        """
    total = np.zeros((3, 4))
    def forward(x, W):
        return x @ W.T, (x, W)
    def backward(delta, cache):
        global total
        x, W = cache
        @@
        return delta @ W, dW
""",
        {"x": X, "W": W},
        {},
    ),
    "layout": (
        """
    def forward(x):
        return np.tanh(x), np.tanh(x)
    def backward(g, a):
        n = len(g)
        flat = @@
        return {"x": flat.reshape(a.shape) * (1 - a**2)}
""",
        {"x": X},
        {},
    ),
    "nondeterministic": (
        """
    rng = np.random.default_rng(0)
    def forward(x):
        mask = np.random.default_rng(7).random(x.shape) > 0.5
        return x * mask, mask
    def backward(u, cache):
        @@
        return {"x": u * mask}
""",
        {"x": X},
        {},
    ),
    "stale-state": (
        """
    kept = []
    def forward(x, W):
        kept.append((x, W))
        return x @ W.T, (x, W)
    def backward(delta, cache):
        @@
        return {"x": delta @ W, "W": delta.T @ x}
""",
        {"x": X, "W": W},
        {},
    ),
    "aliased": (
        """
    def forward(x, w):
        return x * w, (x, w)
    def backward(u, cache):
        (x, w), buf = cache, np.empty_like(u)
        @@
""",
        {"x": X, "w": X + 1},
        {},
    ),
    "cross-entropy-twice": (
        """
    def softmax(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    def forward(z, y):
        p = softmax(z)
        return -np.sum(y * np.log(p)), (p, y)
    def backward(u, cache):
        p, y = cache
        def softmax_backward(v):
            return p * (v - (v * p).sum(axis=1, keepdims=True))
        @@
        return {"z": u * dz}
""",
        {"z": Y},
        {"y": HOT},
    ),
    "derivative-of-activation-not-preactivation": (TANH, {"x": X, "W": W}, {}),
    "detached": (LINEAR.replace('{"x": dx, "W": dW, "b": db}', "(*grads, db)"), POINT, {}),
    "double-batch-mean": (CLASSIFIER, {"x": X, "W": W}, {"y": HOT}),
    "dropped-samples": (
        """
    def forward(x, W):
        return x @ W.T, (x, W)
    def backward(delta, cache):
        x, W = cache
        B, dx, dW = len(x), np.zeros_like(x), np.zeros_like(W)
        @@:
            dx[i] = delta[i] @ W
            dW += np.outer(delta[i], x[i])
        return {"x": dx, "W": dW}
""",
        {"x": X, "W": W},
        {},
    ),
    "dtype": (
        """
    def forward(x):
        return np.tanh(x), x
    def backward(u, x):
        @@
        dx += u * (1 - np.tanh(x) ** 2)
        return {"x": dx}
""",
        {"x": X},
        {},
    ),
    "extra-term": (LINEAR.replace("        @@", "        reg = 0.1\n        @@"), POINT, {}),
    "kink-convention": (
        RELU.replace("        @@", "        @@\n        return {'x': dx}"),
        {"x": np.array([-1.0, 0.0, 2.0, 0.5])},
        {},
    ),
    "missing-activation-derivative": (TANH, {"x": X, "W": W}, {}),
    "missing-batch-mean": (CLASSIFIER, {"x": X, "W": W}, {"y": HOT}),
    "missing-term": (
        """
    def forward(x):
        return x / (1 + np.exp(-x)), x
    def backward(u, x):
        s = 1 / (1 + np.exp(-x))
        @@
        return {"x": dx}
""",
        {"x": X},
        {},
    ),
    "nan-at-edge": (
        """
    def forward(x):
        return np.abs(x), x
    def backward(u, x):
        norm, tiny = np.abs(x), np.finfo(float).tiny
        with np.errstate(all="ignore"):
            @@
        return {"x": dx}
""",
        {"x": np.array([-1.0, 0.0, 2.0, 0.5])},
        {},
    ),
    "overflow": (
        """
    def forward(x):
        with np.errstate(over="ignore"):
            s = 1 / (1 + np.exp(-x))
        return s, (x, s)
    def backward(u, cache):
        x, s = cache
        with np.errstate(all="ignore"):
            @@
        return {"x": dx}
""",
        {"x": np.array([-800.0, -1.0, 2.0, 0.5])},
        {},
    ),
    "permuted": (
        """
    def forward(x, W, b):
        return x * np.sin(W) + b, (x, W)
    def backward(u, cache):
        x, W = cache
        dx, dW, db = u * np.sin(W), u * x * np.cos(W), u
        @@
""",
        {"x": X, "W": X + 1, "b": X - 1},
        {},
    ),
    "primal-mutated": (
        """
    def forward(x):
        @@
        z = x if z is None else z
        return np.exp(z) / np.exp(z).sum(), np.exp(z) / np.exp(z).sum()
    def backward(u, p):
        return {"x": p * (u - (u * p).sum())}
""",
        {"x": X},
        {},
    ),
    "repeated-indices": (
        """
    def forward(E, idx):
        return E[idx], (E, idx)
    def backward(u, cache):
        E, idx = cache
        dE = np.zeros_like(E)
        @@
        return {"E": dE}
""",
        {"E": X},
        {"idx": np.array([0, 2, 2, 4])},
    ),
    "scale": (SQUARES.replace("HALF", "0.5"), {"p": X}, {"y": X - 1 + X**2}),
    "sign": (SQUARES.replace("HALF", "0.5"), {"p": X}, {"y": X - 1 + X**2}),
    "softmax-elementwise": (SOFTMAX, {"z": Y}, {}),
    "transposed": (
        """
    def forward(x, W):
        return x @ W.T, (x, W)
    def backward(delta, cache):
        x, W = cache
        @@
        return {"x": dx, "W": delta.T @ x}
""",
        {"x": X, "W": RNG.standard_normal((4, 4))},
        {},
    ),
    "unreduced-broadcast": (LINEAR, POINT, {}),
    "updated-weights": (
        """
    def forward(a, W):
        return a @ W.T, (a, W.copy())
    def backward(delta, cache):
        a, W = cache
        dW, lr = delta.T @ a, 0.1
        @@
        return {"a": da, "W": dW}
""",
        {"a": X, "W": W},
        {},
    ),
    "upstream-ignored": (
        """
    def forward(x):
        return np.tanh(x), np.tanh(x)
    def backward(u, a):
        @@
        return {"x": dx}
""",
        {"x": X},
        {},
    ),
    "clipped-in-backward": (
        """
    def forward(x):
        return np.tanh(x), np.tanh(x)
    def backward(u, a):
        @@
        return {"x": dx}
""",
        {"x": X},
        {},
    ),
    "upstream-mutated": (RELU, {"x": X}, {}),
    "wrong-axis": (LINEAR, {**POINT, "x": X[:3]}, {}),
    "wrong-mask": (RELU.replace("        @@", "        @@\n        return {'x': dx}"), {"x": X}, {}),
    "zeroed-entries": (
        """
    def forward(x):
        return np.tanh(x), np.tanh(x)
    def backward(u, a):
        dx, whole = np.empty_like(u), u * (1 - a**2)
        @@
        return {"x": dx}
""",
        {"x": X},
        {},
    ),
}


def judged(cause, line):
    code, primals, constants = SCENES[cause]
    line = line.split("  #")[0].rstrip()
    if cause == "primal-mutated" and not line.startswith("z ="):
        line += "; z = None"
    namespace = {"np": np}
    exec(textwrap.dedent(code).replace("@@", line), namespace)
    return gv.verify((namespace["forward"], namespace["backward"]), primals, constants=constants)


@pytest.mark.parametrize("cause", SCENES)
def test_the_right_line_passes(cause):
    report = judged(cause, CAUSES[cause][0])
    assert report.verdict == "pass", str(report)


@pytest.mark.parametrize("cause", SCENES)
def test_the_wrong_line_fails_and_is_called_by_that_name(cause):
    report = judged(cause, CAUSES[cause][1])
    assert report.verdict == "fail", str(report)
    assert cause in report.causes or cause == "kink-convention", str(report)


def test_every_cause_has_a_scene():
    assert set(SCENES) | ELSEWHERE == set(CAUSES)
