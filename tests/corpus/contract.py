"""The contract of backward: right values at the first call, wrong manners."""

import numpy as np

from tests.corpus._items import item, twins

CONTRACT = {"truth": "fd", "differs": "contract"}


@twins(
    "relu_manners",
    why="relu as it should be",
    bugs={
        "upstream-mutated": ("g[x < 0] = 0 in place on the upstream", ("upstream-mutated",)),
        "primal-mutated": ("forward zeroes its input in place", ("primal-mutated",)),
        "ravel-k": ("the upstream is read in memory order: wrong for a Fortran or strided one", ("layout",)),
        "frombuffer": ("the upstream's memory is read without its strides", ("layout",)),
        "buffer": ("one buffer is reused by all calls of backward", ("aliased", "stale-state", "accumulated")),
        "second": ("wrong from the second call of backward on", ("stale-state", "accumulated", "nondeterministic")),
        "first-upstream": ("the first upstream is remembered", ("stale-state", "upstream-ignored")),
        "accumulates": ("the gradient of the last call is added", ("accumulated", "stale-state")),
        "float32": ("a float32 gradient", ("dtype",)),
        "clipped": ("the upstream is clipped at 1: not linear", ()),
        "squared": ("the upstream is squared by its own sign", ()),
        "zero-divides": ("normalised by the upstream's maximum and back: NaN at a zero upstream", ("nan-at-edge",)),
    },
    **CONTRACT,
)
def relu_manners(rng, bug):
    memory = {"n": 0, "sum": 0.0, "buffer": None, "g": None}

    def forward(x):
        if bug == "primal-mutated":
            x[x < 0] = 0
            return x * 2.0, x > 0
        return np.maximum(x, 0) * 2.0, x > 0

    def backward(g, mask):
        memory["n"] += 1
        if bug == "upstream-mutated":
            g[~mask] = 0
            return 2 * g
        if bug == "ravel-k":
            return 2 * (g.ravel(order="K").reshape(g.shape) * mask)
        if bug == "frombuffer":
            base = g if g.base is None else g.base
            return 2 * base.ravel(order="K")[: g.size].reshape(g.shape) * mask
        if bug == "buffer":
            if memory["buffer"] is None:
                memory["buffer"] = np.empty_like(g)
            np.multiply(2 * g, mask, out=memory["buffer"])
            return memory["buffer"]
        if bug == "second" and memory["n"] > 1:
            return 2 * g
        if bug == "first-upstream":
            memory["g"] = g.copy() if memory["g"] is None else memory["g"]
            g = memory["g"]
        if bug == "accumulates":
            memory["sum"] = memory["sum"] + 2 * g * mask
            return memory["sum"]
        if bug == "clipped":
            g = np.clip(g, -1, 1)
        if bug == "squared":
            g = g * np.abs(g)
        if bug == "zero-divides":
            with np.errstate(invalid="ignore"):
                top = np.abs(g).max()
                return 2 * (g / top * mask) * top
        d = 2 * g * mask
        return d.astype(np.float32) if bug == "float32" else d

    x = rng.uniform(0.3, 2.0, (4, 5)) * rng.choice([-1.0, 1.0], (4, 5))
    return (forward, backward), {"x": x}


@twins(
    "add",
    why="a + b: two gradients in two arrays",
    bugs={
        "aliased": ("one buffer for both gradients", ("aliased",)),
    },
    **CONTRACT,
)
def add(rng, bug):
    def forward(a, b):
        return a + b, None

    def backward(g, cache):
        d = g.copy()
        return d, d if bug else g.copy()

    return (forward, backward), {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal((3, 4))}


@item(
    "add_hands_on_the_upstream",
    why="a + b, the upstream itself for both, as engines do: noted (copy before changing in place), not failed",
    expect="pass",
    says="view of the upstream",
    truth="fd",
)
def add_hands_on_the_upstream(rng):
    return (lambda a, b: a + b, lambda g: (g, g)), {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal((3, 4))}


@twins(
    "multiply_by_identity",
    why="a * b",
    bugs={
        "id": (
            "gradients filed under id(array): the same array passed twice gets one of them",
            ("repeated-indices", "stale-state", "aliased", "accumulated"),
        )
    },
    **CONTRACT,
)
def multiply(rng, bug):
    def forward(a, b):
        return a * b**2, (a, b)

    def backward(g, cache):
        a, b = cache
        if bug:
            grads = {id(a): g * b**2}
            grads[id(b)] = 2 * g * a * b
            return grads[id(a)], grads[id(b)]
        return g * b**2, 2 * g * a * b

    return (forward, backward), {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal((3, 4))}


@twins(
    "upstream_of_vector",
    why="sin of a vector",
    bugs={
        "ignored": {"why": "the upstream is ignored", "causes": ("upstream-ignored",), "differs": "here"},
        "one-hot": {"why": "only the first non-zero upstream entry is used", "differs": "here"},
        "sum": {"why": "the upstream's sum is used for every entry", "differs": "here"},
    },
    truth="fd",
)
def upstream_of_vector(rng, bug):
    def forward(x):
        return np.sin(x), x

    def backward(g, x):
        if bug == "ignored":
            return np.cos(x)
        if bug == "one-hot":
            d = np.zeros_like(x)
            for i, gi in enumerate(g):
                if gi == 0:
                    continue
                d[i] = gi * np.cos(x[i])
                return d
            return d
        return (g.sum() if bug else g) * np.cos(x)

    return (forward, backward), {"x": rng.standard_normal(5)}


@item("loss_ignores_upstream_by_default", why="a loss whose backward has an upstream default of 1 and uses it")
def loss_default(rng):
    def forward(p, y):
        return 0.5 * np.sum((p - y) ** 2), p - y

    def backward(dout, d):
        return dout * d

    return (forward, backward), {"p": rng.standard_normal(4)}, {"constants": {"y": rng.standard_normal(4)}}


@twins(
    "cache_survives",
    why="forward keeps a copy of what it needs",
    bugs={"changed": ("backward changes its own cache: the second call is wrong", ("stale-state", "accumulated"))},
    **CONTRACT,
)
def cache_survives(rng, bug):
    def forward(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        s = e / e.sum(axis=1, keepdims=True)
        return s.copy(), s

    def backward(g, s):
        if bug:
            inner = (g * s).sum(axis=1, keepdims=True)
            s *= g - inner
            return s.copy()
        return s * (g - (g * s).sum(axis=1, keepdims=True))

    return (forward, backward), {"z": rng.standard_normal((3, 4))}


@twins(
    "softmax_returns_its_cache",
    why="forward hands out a copy",
    bugs={"given": ("the caller's output is overwritten by backward", ("stale-state", "aliased", "accumulated"))},
    **CONTRACT,
)
def softmax_returns_cache(rng, bug):
    def forward(x):
        y = np.tanh(x)
        return (y if bug else y.copy()), y

    def backward(g, y):
        if bug:
            y *= y
            return g * (1 - y)
        return g * (1 - y**2)

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@twins(
    "layer_layouts",
    why="x @ W with np.ascontiguousarray before the flat loop",
    bugs={"flat": ("a flat loop over the upstream's memory", ("layout",))},
    **CONTRACT,
)
def layer_layouts(rng, bug):
    def forward(x, W):
        return x @ W, (x, W)

    def backward(g, cache):
        x, W = cache
        n, k = g.shape
        root = g
        while bug and root.base is not None:
            root = root.base
        flat = np.ascontiguousarray(g) if root is g and not bug else root.ravel(order="K")
        d = np.resize(flat, (n, k)).astype(float)
        return d @ W.T, x.T @ d

    return (forward, backward), {"x": rng.standard_normal((5, 3)), "W": rng.standard_normal((3, 4))}


@twins(
    "primal_layouts",
    why="elementwise square of any layout",
    bugs={"order": ("the cache is read in memory order: wrong for a Fortran-ordered input", ("layout",))},
    **CONTRACT,
)
def primal_layouts(rng, bug):
    def forward(x):
        return x**2, x

    def backward(g, x):
        return 2 * g * (x.ravel(order="K").reshape(x.shape) if bug else x)

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@twins(
    "object_accumulates",
    why="gradients are set by backward",
    bugs={
        "grad-of-old-call": ("the weight gradient of the first backward ever is kept", ("stale-state", "accumulated"))
    },
    **CONTRACT,
)
def object_accumulates(rng, bug):
    class Layer:
        def __init__(self):
            self.W = rng.standard_normal((3, 4))
            self.dW = None

        def forward(self, x):
            self.x = x
            return x @ self.W

        def backward(self, g):
            if not (bug and self.dW is not None):
                self.dW = self.x.T @ g
            return g @ self.W.T

    return Layer(), {"x": rng.standard_normal((5, 3))}


@item("object_zero_grad", why="dW += as torch does, with a zero_grad: a convention, not a bug")
def object_zero_grad(rng):
    class Layer:
        def __init__(self):
            self.W = rng.standard_normal((3, 4))
            self.zero_grad()

        def zero_grad(self):
            self.dW = np.zeros_like(self.W)

        def forward(self, x):
            self.x = x
            return x @ self.W

        def backward(self, g):
            self.dW += self.x.T @ g
            return g @ self.W.T

    return Layer(), {"x": rng.standard_normal((5, 3))}


@item("returns_views", why="two gradients that are disjoint views of one array: nothing overlaps")
def returns_views(rng):
    def forward(a, b):
        return np.concatenate([2 * a, 3 * b]), len(a)

    def backward(g, n):
        d = g.copy()
        d[:n] *= 2
        d[n:] *= 3
        return d[:n], d[n:]

    return (forward, backward), {"a": rng.standard_normal(3), "b": rng.standard_normal(4)}


@item(
    "read_only_upstream_ok",
    why="a broadcast (read-only, stride 0) gradient handed back: the caller may not write, but the values are right",
)
def returns_broadcast(rng):
    def forward(x):
        return x.sum(), x.shape

    def backward(g, shape):
        return np.broadcast_to(g, shape)

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@item(
    "wrong_shape",
    expect="fail",
    causes=("unreduced-broadcast", "wrong-axis", "dtype"),
    why="the gradient has one axis too many",
    twin="contract.right_shape",
    differs="contract",
)
def wrong_shape(rng):
    def forward(x, b):
        return x * b, (x, b)

    def backward(g, cache):
        x, b = cache
        return g * b, g * x

    return (forward, backward), {"x": rng.standard_normal((4, 3)), "b": rng.standard_normal(3)}


@item("right_shape", why="the control of the one above")
def right_shape(rng):
    def forward(x, b):
        return x * b, (x, b)

    def backward(g, cache):
        x, b = cache
        return g * b, (g * x).sum(axis=0)

    return (forward, backward), {"x": rng.standard_normal((4, 3)), "b": rng.standard_normal(3)}


@item(
    "integer_gradient",
    expect="fail",
    causes=("dtype",),
    why="zeros_like of an integer array truncates the gradient",
    twin="contract.right_shape",
    differs="reason: truncation to integers of values of order one",
)
def integer_gradient(rng):
    def forward(x):
        return 1.5 * np.sin(x), x

    def backward(g, x):
        d = np.zeros(x.shape, dtype=int)
        d[...] = g * 1.5 * np.cos(x)
        return d

    return (forward, backward), {"x": rng.standard_normal((3, 4))}
