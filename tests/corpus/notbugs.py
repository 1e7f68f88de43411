"""Reported as bugs elsewhere, but not bugs; and points where the truth is unusual."""

import numpy as np

from tests.corpus._items import item


@item("grad_of_centred_with_ones", why="pytorch#107007: the gradient of sum(x - mean(x)) is 0")
def centred_ones(rng):
    def forward(x):
        return x - x.mean(), None

    def backward(g, cache):
        return g - g.mean()

    return (forward, backward), {"x": rng.standard_normal(6)}, {"upstream": np.ones(6)}


@item("prod_two_zeros_axis", why="tensorflow#62555: two zeros in one row, its gradient is truly 0")
def prod_two_zeros(rng):
    def forward(x):
        return np.prod(x, axis=1), x

    def backward(g, x):
        d = np.empty_like(x)
        for j in range(x.shape[1]):
            d[:, j] = g * np.prod(np.delete(x, j, axis=1), axis=1)
        return d

    return (forward, backward), {"x": np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0], [1.0, 2.0, 3.0]])}


@item("relu6_kinks", why="tensorflow#62429: both kinks hit exactly", truth="kink")
def relu6(rng):
    def forward(x):
        return np.clip(x, 0, 6), x

    def backward(g, x):
        return g * ((x > 0) & (x < 6))

    return (forward, backward), {"x": np.array([0.0, 6.0, 3.0, -1.0, 7.0])}


@item("softsign_like_kink", why="tensorflow#62434: abs at 0 inside a sum", truth="kink")
def abs_sum(rng):
    def forward(x):
        return np.abs(x).sum(axis=1), x

    def backward(g, x):
        return g[:, None] * np.sign(x)

    return (forward, backward), {"x": np.array([[0.0, -1.0], [2.0, 0.0]])}


@item(
    "hardshrink_edge",
    why="pytorch#114234: at the threshold of hardshrink the function jumps: any claim about it is moot",
    expect="pass|inconclusive",
    truth="reason: a jump has no derivative",
)
def hardshrink(rng):
    def forward(x):
        return np.where(np.abs(x) > 0.5, x, 0.0), x

    def backward(g, x):
        return g * (np.abs(x) > 0.5)

    return (forward, backward), {"x": np.array([0.5, -0.5, 1.0, 0.2])}


@item("float32_linear", why="pytorch#5351: a right linear layer in float32", truth="fd", tol=1e-4, step=1e-1)
def float32_linear(rng):
    def forward(x, W):
        return x @ W.T, (x, W)

    def backward(g, cache):
        x, W = cache
        return g @ W, g.T @ x

    return (forward, backward), {
        "x": rng.standard_normal((8, 64)).astype(np.float32),
        "W": rng.standard_normal((10, 64)).astype(np.float32),
    }


@item(
    "squared_norm_by_chain_rule_at_zero",
    expect="fail|inconclusive",
    says="nan|exist",
    why="jax#21723: sqrt squared at 0 is NaN by the chain rule; the derivative is 0, and the NaN must be named",
    truth="reason: |x|^2 has derivative 0 at 0",
)
def squared_norm_at_zero(rng):
    def forward(x):
        return np.sqrt(np.sum(x**2)) ** 2, x

    def backward(g, x):
        n = np.sqrt(np.sum(x**2))
        with np.errstate(invalid="ignore"):
            return g * 2 * n * x / n

    return (forward, backward), {"x": np.zeros(3)}


@item("conv1d_dilation_2", why="pytorch#15501: dilation 2, [0, 5] by hand")
def dilated(rng):
    def forward(x, k):
        n = len(x) - 2 * (len(k) - 1)
        return np.array([sum(k[j] * x[i + 2 * j] for j in range(len(k))) for i in range(n)]), (x, k)

    def backward(g, cache):
        x, k = cache
        dx, dk = np.zeros_like(x), np.zeros_like(k)
        for i in range(len(g)):
            for j in range(len(k)):
                dx[i + 2 * j] += g[i] * k[j]
                dk[j] += g[i] * x[i + 2 * j]
        return dx, dk

    return (forward, backward), {"x": np.array([5.0, 0.0, 0.0, 1.0, 2.0]), "k": rng.standard_normal(2)}


@item("prelu_one_slope", why="pytorch#128120: one shared slope collects every negative entry")
def prelu_one(rng):
    def forward(x, a):
        return np.where(x > 0, x, a * x), (x, a)

    def backward(g, cache):
        x, a = cache
        return g * np.where(x > 0, 1, a), np.sum(g * np.minimum(x, 0))

    return (forward, backward), {"x": rng.standard_normal((3, 4)), "a": np.array(0.25)}


@item(
    "embedding_padding_idx",
    expect="pass|fail",
    says="padding|surrogate|zero|row|deliberate|0",
    why="pytorch PR#99181: the row of padding_idx is kept at 0 on purpose; without surrogate= that is a wrong row",
    truth="reason: differs on purpose",
)
def padding_idx(rng):
    def forward(W, ids):
        return W[ids], (W.shape, ids)

    def backward(g, cache):
        shape, ids = cache
        d = np.zeros(shape)
        np.add.at(d, ids, g)
        d[0] = 0
        return d

    return (forward, backward), {"W": rng.standard_normal((4, 3))}, {"constants": {"ids": np.array([1, 0, 3, 1])}}


@item(
    "embedding_padding_idx_declared",
    expect="pass",
    why="the same, declared: judged against the embedding whose padding row is a constant",
    truth="reason: judged against the surrogate",
)
def padding_idx_declared(rng):
    subject, primals, kwargs = padding_idx(rng)
    row = primals["W"][0].copy()

    def surrogate(W, ids):
        fixed = np.concatenate([row[None, :], W[1:]])
        return fixed[ids]

    return subject, primals, {**kwargs, "surrogate": surrogate}


@item("x_to_the_zero", why="pytorch#8940: x^0 at 0 has the gradient 0, not NaN")
def x_to_the_zero(rng):
    def forward(x):
        return x**0 + x**2, x

    def backward(g, x):
        return g * 2 * x

    return (forward, backward), {"x": np.array([0.0, 1.5, -2.0])}


@item("smooth_bump", why="jax#15588: exp(-1/(1-x^2)) inside, 0 outside: all derivatives vanish outside", step=1e-3)
def smooth_bump(rng):
    def inside(x):
        return np.where(np.abs(x) < 1, 1 - x**2, 1.0)

    def forward(x):
        d = inside(x)
        return np.where(np.abs(x) < 1, np.exp(-1 / d), 0.0), x

    def backward(g, x):
        d = inside(x)
        return g * np.where(np.abs(x) < 1, np.exp(-1 / d) * -2 * x / d**2, 0.0)

    return (forward, backward), {"x": np.array([0.0, 0.5, -0.9, 1.5, -3.0])}


@item("softplus_at_zero", why="jax#2107: 1/2 at 0 although abs and max are inside")
def softplus_at_zero(rng):
    def forward(x):
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), x

    def backward(g, x):
        return g / (1 + np.exp(-x))

    return (forward, backward), {"x": np.array([0.0, 1.0, -2.0])}


@item(
    "softplus_at_zero_wrong",
    expect="fail",
    why="jax#2107: 0 instead of 1/2 at 0, where the function is smooth",
    twin="notbugs.softplus_at_zero",
)
def softplus_at_zero_wrong(rng):
    def forward(x):
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), x

    def backward(g, x):
        # maximum' = 0 and |x|' = 0 at 0
        return g * ((x > 0) - np.sign(x) * np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))

    return (forward, backward), {"x": np.array([0.0, 1.0, -2.0])}


@item(
    "arctan2_far_and_near",
    why="pytorch#98276: arctan2 at 1e-160, where squares underflow",
    expect="pass|inconclusive",
    truth=lambda p, u: {
        "a": u * (p["b"] / np.hypot(p["a"], p["b"])) / np.hypot(p["a"], p["b"]),
        "b": -u * (p["a"] / np.hypot(p["a"], p["b"])) / np.hypot(p["a"], p["b"]),
    },
)
def arctan2_tiny(rng):
    def forward(a, b):
        return np.arctan2(a, b), (a, b)

    def backward(g, cache):
        a, b = cache
        r = np.hypot(a, b)
        return g * (b / r) / r, -g * (a / r) / r

    return (forward, backward), {"a": np.array([3e-160, 1.0]), "b": np.array([4e-160, -2.0])}


@item(
    "fused_softmax_convention",
    why="softmax inside the loss: backward is (p - y) / B of the logits, and right as a whole",
)
def fused(rng):
    class SoftmaxWithLoss:
        """Deep Learning from Scratch."""

        def forward(self, x, t):
            e = np.exp(x - x.max(axis=1, keepdims=True))
            self.y, self.t = e / e.sum(axis=1, keepdims=True), t
            return -np.sum(t * np.log(self.y)) / len(t)

        def backward(self, dout=1):
            return dout * (self.y - self.t) / len(self.t)

    return SoftmaxWithLoss(), {"x": rng.standard_normal((4, 3))}, {"constants": {"t": np.eye(3)[[0, 2, 1, 1]]}}


@item(
    "loss_ignores_dout",
    why="the same layer, which ignores dout as losses do: a note, not a bug",
    truth="reason: right at dout = 1",
)
def fused_ignores(rng):
    class SoftmaxWithLoss:
        """Deep Learning from Scratch."""

        def forward(self, x, t):
            e = np.exp(x - x.max(axis=1, keepdims=True))
            self.y, self.t = e / e.sum(axis=1, keepdims=True), t
            return -np.sum(t * np.log(self.y)) / len(t)

        def backward(self, dout=1):
            return (self.y - self.t) / len(self.t)

    return SoftmaxWithLoss(), {"x": rng.standard_normal((4, 3))}, {"constants": {"t": np.eye(3)[[0, 2, 1, 1]]}}
