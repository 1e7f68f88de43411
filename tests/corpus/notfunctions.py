"""Code that is not a function: random masks, state, iteration, noise, surrogates."""

import numpy as np

from tests.corpus._items import item, twins


@twins(
    "dropout_global_random",
    why="np.random draws the mask in forward and backward uses that mask: right for the mask of the run",
    bugs={
        "redrawn": ("backward draws a new mask", ("nondeterministic", "wrong-mask", "stale-state")),
        "scale": ("1 / keep is missing in backward", ("scale",)),
    },
    truth="reason: the mask of the run decides; checked at a fixed seed",
)
def dropout_global(rng, bug):
    def forward(x):
        mask = np.random.rand(*x.shape) < 0.5  # noqa: NPY002 - 141 of 203 repositories do this
        return x * mask / 0.5, mask

    def backward(g, mask):
        if bug == "redrawn":
            mask = np.random.rand(*g.shape) < 0.5  # noqa: NPY002 - as above
        return g * mask / (1 if bug == "scale" else 0.5)

    return (forward, backward), {"x": rng.standard_normal((5, 6))}


@twins(
    "dropout_object_generator",
    why="the generator lives on the layer: a fresh copy of the layer draws the same mask",
    bugs={"mask": ("the mask is not applied in backward", ("wrong-mask", "extra-term", "nondeterministic"))},
    truth="reason: the mask of the run decides; checked at a fixed seed",
)
def dropout_object(rng, bug):
    class Dropout:
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def forward(self, x):
            self.mask = (self.rng.random(x.shape) < 0.5) / 0.5
            return x * self.mask

        def backward(self, g):
            return g * 2 if bug else g * self.mask

    return Dropout(), {"x": rng.standard_normal((5, 6))}


@twins(
    "dropout_closure_generator",
    expect="pass|inconclusive",
    why="a generator in a closure that nobody can reset: every forward is another function",
    bugs={
        "mask": {
            "why": "the mask is not applied in backward; without a seed it may only be suspected",
            "expect": "fail|inconclusive",
        }
    },
    truth="reason: the mask of the run decides; checked at a fixed seed",
)
def dropout_closure(rng, bug):
    own = np.random.default_rng(0)

    def forward(x):
        mask = (own.random(x.shape) < 0.5) / 0.5
        return x * mask, mask

    def backward(g, mask):
        return g * 2 if bug else g * mask

    return (forward, backward), {"x": rng.standard_normal((5, 6))}


@item(
    "dropout_os_entropy",
    expect="inconclusive",
    says="determin|random|seed|differ",
    why="a generator seeded by the operating system in every forward: cannot be judged, and the report says why",
    truth="reason: no two forwards agree",
)
def dropout_entropy(rng):
    def forward(x):
        mask = (np.random.default_rng().random(x.shape) < 0.5) / 0.5
        return x * mask, mask

    def backward(g, mask):
        return g * mask

    return (forward, backward), {"x": rng.standard_normal((5, 6))}


@twins(
    "call_counter",
    why="a counter in forward that changes nothing",
    bugs={"sign": ("the wrong sign", ("sign", "scale"))},
)
def call_counter(rng, bug):
    calls = {"n": 0}

    def forward(x):
        calls["n"] += 1
        return np.sin(x), x

    def backward(g, x):
        return (-1 if bug else 1) * g * np.cos(x)

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@twins(
    "rnn_keeps_h",
    why="the hidden state stays on the object between calls: a fresh copy is a function",
    bugs={"carry": ("dh is not multiplied by W^T", ("missing-term",))},
)
def rnn_keeps_h(rng, bug):
    class Cell:
        def __init__(self):
            self.W = rng.standard_normal((3, 3))
            self.h = np.zeros(3)

        def forward(self, x):
            self.x, self.hs = x, [self.h]
            for xt in x:
                self.h = np.tanh(xt + self.h @ self.W)
                self.hs.append(self.h)
            return self.h

        def backward(self, g):
            self.dW, dx, dh = np.zeros_like(self.W), np.zeros_like(self.x), g
            for t in reversed(range(len(self.x))):
                dz = dh * (1 - self.hs[t + 1] ** 2)
                dx[t] = dz
                self.dW += np.outer(self.hs[t], dz)
                dh = dz if bug else dz @ self.W.T
            return dx

    return Cell(), {"x": rng.standard_normal((3, 3))}


@item(
    "state_in_closure",
    expect="inconclusive|fail",
    causes=("stale-state", "nondeterministic"),
    says="determin|state|differ|same|twice|second",
    why="a running mean outside of forward changes its value from call to call: not a function, and the report says so",
    truth="reason: no two forwards agree",
)
def state_in_closure(rng):
    state = {"mean": np.zeros(3)}

    def forward(x):
        state["mean"] = 0.9 * state["mean"] + 0.1 * x.mean(axis=0)
        return x - state["mean"], x.shape[0]

    def backward(g, n):
        return g - 0.1 * g.mean(axis=0)

    return (forward, backward), {"x": rng.standard_normal((5, 3))}


@item(
    "forward_changes_its_input",
    expect="fail",
    causes=("primal-mutated",),
    why="z -= z.max() in place: the caller's logits are changed",
    twin="losses.softmax_loss",
    differs="contract",
)
def forward_changes_input(rng):
    def forward(z):
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        s = e / e.sum(axis=1, keepdims=True)
        return s, s

    def backward(g, s):
        return s * (g - (g * s).sum(axis=1, keepdims=True))

    return (forward, backward), {"z": rng.standard_normal((3, 4))}


@twins(
    "newton_sqrt",
    why="twenty Newton steps inside, the gradient by the implicit function",
    bugs={"half": ("the 1/2 is missing", ("scale",))},
)
def newton_sqrt(rng, bug):
    def forward(a):
        x = np.ones_like(a)
        for _ in range(20):
            x = 0.5 * (x + a / x)
        return x, x

    def backward(g, x):
        return g / ((1 if bug else 2) * x)

    return (forward, backward), {"a": rng.uniform(0.5, 4.0, 5)}


@twins(
    "fixed_point_tolerance_1e-9",
    why="a fixed point solved to 1e-9: the forward is noisy at 1e-9, the gradient is implicit",
    bugs={"unrolled-once": ("one step of the iteration is differentiated", ("missing-term",))},
    tol=1e-5,
    step=1e-2,
    truth="fd",
)
def fixed_point(rng, bug):
    def forward(x, W):
        z = np.zeros_like(x)
        for _ in range(500):
            new = np.tanh(W @ z + x)
            done = np.max(np.abs(new - z)) < 1e-9
            z = new
            if done:
                break
        return z, (z, W)

    def backward(g, cache):
        z, W = cache
        D = 1 - z**2
        adj = g if bug else np.linalg.solve(np.eye(len(z)) - (D[:, None] * W).T, g)
        dx = D * adj
        return dx, np.outer(dx, z)

    W = rng.standard_normal((4, 4))
    return (forward, backward), {"x": rng.standard_normal(4), "W": 0.6 * W / np.linalg.norm(W, 2)}


@twins(
    "deterministic_noise_1e-9",
    why="a forward with rounding to 9 digits: piecewise constant if one looks too closely",
    bugs={"double": ("doubled", ("scale",)), "percent": "one entry off by 1 %"},
    tol=1e-4,
    step=1e-1,
)
def deterministic_noise(rng, bug):
    def forward(x):
        return np.round(np.sin(x), 9), x

    def backward(g, x):
        d = g * np.cos(x) * (2 if bug == "double" else 1)
        if bug == "percent":
            d.flat[1] *= 1.01
        return d

    return (forward, backward), {"x": rng.uniform(0.1, 1.2, (2, 3))}


@twins(
    "random_noise_1e-9",
    expect="pass|inconclusive",
    why="fresh noise of 1e-9 in every forward: the gradient is right as far as anybody can see",
    bugs={
        "double": {
            "why": "doubled: visible through the noise",
            "expect": "fail",
            "causes": ("scale", "noise", "nondeterministic"),
        }
    },
    truth="reason: the noise is not reproducible; sin and cos",
)
def random_noise(rng, bug):
    def forward(x):
        return np.sin(x) + 1e-9 * np.random.default_rng().standard_normal(x.shape), x

    def backward(g, x):
        return g * np.cos(x) * (2 if bug else 1)

    return (forward, backward), {"x": rng.uniform(0.1, 1.2, (2, 3))}


def _straight_through(bug=""):
    def forward(x):
        return np.round(x), None

    def backward(g, cache):
        return 2 * g if bug else g

    return forward, backward


@item(
    "straight_through_undeclared",
    expect="fail",
    why="rounding with the gradient of the identity, not declared: not the derivative",
    truth="reason: rounding has derivative 0",
)
def straight_through_undeclared(rng):
    return _straight_through(), {"x": rng.uniform(0.1, 0.4, (2, 3)) + np.arange(3)}


@twins(
    "straight_through_surrogate",
    why="declared: the gradient is the identity's",
    bugs={"double": ("twice the surrogate's gradient", ("scale",))},
    truth="reason: judged against the surrogate, the identity",
)
def straight_through_surrogate(rng, bug):
    primals = {"x": rng.uniform(0.1, 0.4, (2, 3)) + np.arange(3)}
    return _straight_through(bug), primals, {"surrogate": lambda x: x}


@item(
    "straight_through_sentence",
    expect="pass|inconclusive",
    says="straight-through",
    why="a sentence leaves the value unjudged; the report repeats it",
    truth="reason: the value is not judged",
)
def straight_through_sentence(rng):
    primals = {"x": rng.uniform(0.1, 0.4, (2, 3)) + np.arange(3)}
    return _straight_through(), primals, {"surrogate": "straight-through estimator of Bengio et al. 2013"}


@twins(
    "spiking_surrogate",
    why="a step whose gradient is that of a sigmoid, declared",
    bugs={"beta": ("the slope 4 is missing", ("scale", "missing-term"))},
    truth="reason: judged against the surrogate",
)
def spiking_surrogate(rng, bug):
    def forward(v):
        return (v > 0).astype(float), v

    def backward(g, v):
        s = 1 / (1 + np.exp(-4 * v))
        return g * s * (1 - s) * (1 if bug else 4)

    def surrogate(v):
        return 1 / (1 + np.exp(-4 * v))

    return (forward, backward), {"v": rng.standard_normal((3, 4))}, {"surrogate": surrogate}


@twins(
    "none_for_integers",
    why="labels are a primal of integer type and get None",
    bugs={"logits-none": ("None for the logits", ("detached", "zeroed-entries"))},
)
def none_for_integers(rng, bug):
    def forward(z, y):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return -np.log(p[np.arange(len(y)), y]).mean(), (p, y)

    def backward(g, cache):
        p, y = cache
        d = p.copy()
        d[np.arange(len(y)), y] -= 1
        return (None if bug else g * d / len(y)), None

    return (forward, backward), {"z": rng.standard_normal((4, 3)), "y": np.array([0, 2, 1, 1])}


@twins(
    "cache_on_function",
    expect="pass|fail",
    says="last forward|next forward|second forward|forward before|stale",
    why="forward keeps its cache in a dictionary of the module: right as long as backward follows its own forward",
    bugs={"double": ("doubled", ("scale", "stale-state"))},
)
def cache_on_function(rng, bug):
    cache = {}

    def forward(x, w):
        cache["x"], cache["w"] = x, w
        return x @ w

    def backward(g):
        x, w = cache["x"], cache["w"]
        return g @ w.T, x.T @ g * (2 if bug else 1)

    return (forward, backward), {"x": rng.standard_normal((3, 4)), "w": rng.standard_normal((4, 2))}


@twins(
    "gradient_checkpoint",
    why="backward runs the forward again instead of keeping anything",
    bugs={"stale": ("the recomputation uses a rounded copy of the input", ())},
)
def gradient_checkpoint(rng, bug):
    def forward(x, w):
        return np.tanh(np.tanh(x @ w) @ w), (x, w)

    def backward(g, cache):
        x, w = cache
        if bug:
            x = np.round(x, 2)
        h = np.tanh(x @ w)
        o = np.tanh(h @ w)
        dz = g * (1 - o**2)
        dh = dz @ w.T * (1 - h**2)
        return dh @ w.T, h.T @ dz + x.T @ dh

    return (forward, backward), {"x": rng.standard_normal((3, 3)), "w": rng.standard_normal((3, 3))}


@twins(
    "argmax_inside",
    why="hard attention: argmax picks a row, no gradient flows through the choice",
    bugs={"scores": ("the scores get a gradient as if it were soft", ("extra-term",))},
)
def argmax_inside(rng, bug):
    def forward(s, V):
        k = int(np.argmax(s))
        return V[k] * 2, (s, V, k)

    def backward(g, cache):
        s, V, k = cache
        dV = np.zeros_like(V)
        dV[k] = 2 * g
        return (V @ g if bug else np.zeros_like(s)), dV

    return (forward, backward), {"s": rng.standard_normal(4), "V": rng.standard_normal((4, 3))}
