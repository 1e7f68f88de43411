"""Losses: the factor 1/B, fused and naive cross-entropies, margins, regularisation."""

import numpy as np

from tests.corpus._items import item, twins


def _softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@twins("half_squared", why="1/2 sum (p - y)^2", bugs={"two": ("2 (p - y)", ("scale",))})
def half_squared(rng, bug):
    def forward(p, y):
        return 0.5 * np.sum((p - y) ** 2), p - y

    def backward(g, d):
        return g * d * (2 if bug else 1)

    return (forward, backward), {"p": rng.standard_normal((4, 3))}, {"constants": {"y": rng.standard_normal((4, 3))}}


@twins(
    "mse_all",
    why="the mean over all entries",
    bugs={
        "outputs": ("divided by the batch only", ("scale", "missing-batch-mean")),
        "nothing": ("not divided", ("scale", "missing-batch-mean")),
        "sign": ("y - p", ("sign", "scale")),
    },
)
def mse_all(rng, bug):
    def forward(p, y):
        return np.mean((p - y) ** 2), p - y

    def backward(g, d):
        n = {"outputs": d.shape[0], "nothing": 1}.get(bug, d.size)
        return (-1 if bug == "sign" else 1) * g * 2 * d / n

    return (forward, backward), {"p": rng.standard_normal((4, 3))}, {"constants": {"y": rng.standard_normal((4, 3))}}


@twins(
    "softmax_loss",
    why="CS231n's softmax_loss(x, y) -> (loss, dx), integer labels",
    bugs={
        "batch": ("dx is not divided by N", ("missing-batch-mean", "scale")),
        "no-one": ("1 is not subtracted at the label", ("missing-term", "cross-entropy-twice", "extra-term")),
        "last-class": ("labels of the last class are skipped", ()),
    },
)
def softmax_loss(rng, bug):
    def softmax_loss(x, y):
        shifted = x - np.max(x, axis=1, keepdims=True)
        logp = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
        n = x.shape[0]
        loss = -np.sum(logp[np.arange(n), y]) / n
        dx = np.exp(logp)
        rows = np.arange(n)
        if bug == "last-class":
            rows = rows[y < x.shape[1] - 1]
        if bug != "no-one":
            dx[rows, y[rows]] -= 1
        if bug != "batch":
            dx /= n
        return loss, dx

    return softmax_loss, {"x": rng.standard_normal((5, 4))}, {"constants": {"y": np.array([0, 3, 1, 3, 2])}}


@twins(
    "softmax_ce_onehot",
    why="one-hot labels, fused, p - y over B",
    bugs={
        "twice": ("(p - y) goes through the softmax Jacobian once more", ("cross-entropy-twice",)),
        "double": ("divided by B twice", ("double-batch-mean", "scale")),
    },
)
def softmax_ce_onehot(rng, bug):
    def forward(z, y):
        p = _softmax(z)
        return -np.mean(np.sum(y * np.log(p), axis=1)), (p, y)

    def backward(g, cache):
        p, y = cache
        d = (p - y) / len(y)
        if bug == "twice":
            d = p * (d - (d * p).sum(axis=1, keepdims=True))
        if bug == "double":
            d = d / len(y)
        return g * d

    y = np.eye(4)[[0, 3, 1, 1, 2]]
    return (forward, backward), {"z": rng.standard_normal((5, 4))}, {"constants": {"y": y}}


@twins(
    "softmax_ce_two_steps",
    why="softmax, then cross-entropy on probabilities, chained",
    bugs={"elementwise": ("s (1 - s) for the softmax", ("softmax-elementwise",))},
)
def softmax_ce_two_steps(rng, bug):
    def forward(z, y):
        p = _softmax(z)
        return -np.sum(y * np.log(p)) / len(y), (p, y)

    def backward(g, cache):
        p, y = cache
        dp = -g * y / p / len(y)
        return dp * p * (1 - p) if bug else p * (dp - (dp * p).sum(axis=1, keepdims=True))

    y = np.eye(4)[[0, 3, 1, 1, 2]]
    return (forward, backward), {"z": rng.standard_normal((5, 4))}, {"constants": {"y": y}}


@twins(
    "ce_eps_in_log",
    why="log(p + 1e-5): the right derivative has the same 1e-5",
    bugs={"p-minus-y": "p - y ignores the epsilon: off by up to 1e-2 where p is small"},
)
def ce_eps_in_log(rng, bug):
    eps = 1e-5

    def forward(z, y):
        p = _softmax(z)
        return -np.sum(y * np.log(p + eps)) / len(y), (p, y)

    def backward(g, cache):
        p, y = cache
        if bug:
            return g * (p - y) / len(y)
        dp = -g * y / (p + eps) / len(y)
        return p * (dp - (dp * p).sum(axis=1, keepdims=True))

    y = np.eye(4)[[0, 3, 1]]
    z = rng.standard_normal((3, 4))
    z[1, 3] -= 8.0
    return (forward, backward), {"z": z}, {"constants": {"y": y}}


@twins(
    "bce_probabilities",
    why="-y/p + (1 - y)/(1 - p)",
    bugs={"sign": ("the sign of the second term", ()), "softmax": ("only -y/p", ("missing-term",))},
)
def bce_probabilities(rng, bug):
    def forward(p, y):
        return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)), (p, y)

    def backward(g, cache):
        p, y = cache
        second = {"sign": -1, "softmax": 0}.get(bug, 1) * (1 - y) / (1 - p)
        return g * (-y / p + second) / p.size

    return (
        (forward, backward),
        {"p": rng.uniform(0.05, 0.95, (4, 2))},
        {"constants": {"y": rng.integers(0, 2, (4, 2)).astype(float)}},
    )


@twins(
    "bce_with_logits",
    why="stable: max(z, 0) - z y + log1p(exp(-|z|)), at +-60 and 0",
    bugs={
        "targets": ("1 - y for y", ()),
        "derivative": ("the sigmoid derivative is multiplied in", ("extra-term", "cross-entropy-twice")),
    },
)
def bce_with_logits(rng, bug):
    def forward(z, y):
        return np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))), (z, y)

    def backward(g, cache):
        z, y = cache
        s = np.where(z >= 0, 1 / (1 + np.exp(-np.abs(z))), np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))))
        d = s - (1 - y if bug == "targets" else y)
        return g * d * (s * (1 - s) if bug == "derivative" else 1) / z.size

    z = np.array([[0.0, 2.0, -1.5], [60.0, -60.0, 0.3]])
    y = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    return (forward, backward), {"z": z}, {"constants": {"y": y}}


@twins("huber", why="delta 1.3", bugs={"delta": ("the linear part has slope 1", ("scale",))})
def huber(rng, bug):
    delta = 1.3

    def forward(p, y):
        r = p - y
        a = np.abs(r)
        return np.mean(np.where(a < delta, 0.5 * r**2, delta * (a - 0.5 * delta))), r

    def backward(g, r):
        d = np.where(np.abs(r) < delta, r, (1 if bug else delta) * np.sign(r))
        return g * d / r.size

    return (forward, backward), {"p": 3 * rng.standard_normal((4, 3))}, {"constants": {"y": np.zeros((4, 3))}}


@twins("log_cosh", why="tanh(r) / n", bugs={"sech": ("1 - tanh^2", ())})
def log_cosh(rng, bug):
    def forward(p, y):
        return np.mean(np.log(np.cosh(p - y))), p - y

    def backward(g, r):
        return g * (1 - np.tanh(r) ** 2 if bug else np.tanh(r)) / r.size

    return (forward, backward), {"p": rng.standard_normal(6)}, {"constants": {"y": rng.standard_normal(6)}}


@twins("kl", why="sum p log(p / q), both differentiable", bugs={"one": ("dp without the 1", ("missing-term",))})
def kl(rng, bug):
    def forward(p, q):
        return np.sum(p * np.log(p / q)), (p, q)

    def backward(g, cache):
        p, q = cache
        return g * (np.log(p / q) + (0 if bug else 1)), -g * p / q

    return (forward, backward), {"p": rng.dirichlet(np.ones(4), 2), "q": rng.dirichlet(np.ones(4), 2)}


@twins(
    "triplet",
    why="max(0, |a-p|^2 - |a-n|^2 + m)",
    bugs={"anchor": ("the anchor gets 2 (a - p) - 2 (a - n) with a plus", ())},
)
def triplet(rng, bug):
    def forward(a, p, n):
        v = ((a - p) ** 2).sum(axis=1) - ((a - n) ** 2).sum(axis=1) + 1.0
        return np.maximum(v, 0).mean(), (a, p, n, v)

    def backward(g, cache):
        a, p, n, v = cache
        m = g * (v > 0)[:, None] / len(v)
        da = 2 * (a - p) + 2 * (a - n) if bug else 2 * (n - p)
        return m * da, m * -2 * (a - p), m * 2 * (a - n)

    return (forward, backward), {k: rng.standard_normal((5, 3)) for k in "apn"}


@twins(
    "label_smoothing", why="targets 0.9 y + 0.1 / k", bugs={"hard": ("the hard targets in backward", ("missing-term",))}
)
def label_smoothing(rng, bug):
    def forward(z, y):
        t = 0.9 * y + 0.1 / y.shape[1]
        p = _softmax(z)
        return -np.mean((t * np.log(p)).sum(axis=1)), (p, y, t)

    def backward(g, cache):
        p, y, t = cache
        return g * (p - (y if bug else t)) / len(y)

    return (forward, backward), {"z": rng.standard_normal((4, 5))}, {"constants": {"y": np.eye(5)[[0, 4, 2, 2]]}}


@twins(
    "logistic_regression_l2",
    why="value and gradient with reg / 2 |w|^2 and the bias not regularised",
    bugs={
        "reg-batch": ("reg w is divided by B once more", ("missing-term", "scale")),
        "reg-sign": ("minus reg w", ("missing-term", "extra-term")),
        "reg-missing": ("no reg w", ("missing-term",)),
        "reg-bias": ("the bias is regularised in backward", ("extra-term",)),
    },
)
def logistic_regression_l2(rng, bug):
    X, y = rng.standard_normal((7, 3)), rng.integers(0, 2, 7).astype(float)
    reg = 0.4

    def loss_and_grad(w, b, X, y):
        p = 1 / (1 + np.exp(-(X @ w + b)))
        n = len(y)
        loss = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)) + reg / 2 * np.sum(w * w)
        dw = X.T @ (p - y) / n + {"reg-batch": reg / n, "reg-sign": -reg, "reg-missing": 0.0}.get(bug, reg) * w
        db = np.mean(p - y) + (reg * b if bug == "reg-bias" else 0)
        return loss, {"w": dw, "b": db}

    return loss_and_grad, {"w": rng.standard_normal(3), "b": np.array(0.5)}, {"constants": {"X": X, "y": y}}


@twins("weighted_ce", why="class weights, divided by their sum", bugs={"n": ("divided by the batch size", ("scale",))})
def weighted_ce(rng, bug):
    w = np.array([0.2, 1.0, 3.0])

    def forward(z, y):
        p = _softmax(z)
        wy = w[y]
        return -np.sum(wy * np.log(p[np.arange(len(y)), y])) / wy.sum(), (p, y, wy)

    def backward(g, cache):
        p, y, wy = cache
        d = p.copy()
        d[np.arange(len(y)), y] -= 1
        return g * d * wy[:, None] / (len(y) if bug else wy.sum())

    return (forward, backward), {"z": rng.standard_normal((5, 3))}, {"constants": {"y": np.array([0, 2, 1, 2, 0])}}


@twins(
    "masked_mse",
    why="mean over the valid entries only",
    bugs={
        "all": ("divided by all entries", ("scale",)),
        "mask": ("the mask is not applied", ("wrong-mask", "extra-term")),
    },
)
def masked_mse(rng, bug):
    def forward(p, y, mask):
        d = (p - y) * mask
        return np.sum(d**2) / mask.sum(), (p - y, mask)

    def backward(g, cache):
        d, mask = cache
        return g * 2 * d * (1 if bug == "mask" else mask) / (mask.size if bug == "all" else mask.sum())

    mask = np.array([[1.0, 0, 1], [1, 1, 0]])
    return (
        (forward, backward),
        {"p": rng.standard_normal((2, 3))},
        {"constants": {"y": rng.standard_normal((2, 3)), "mask": mask}},
    )


@twins(
    "focal", why="(1 - p)^2 log p", bugs={"modulator": ("the factor (1 - p)^2 is taken as constant", ("missing-term",))}
)
def focal(rng, bug):
    def forward(z):
        p = 1 / (1 + np.exp(-z))
        return -np.sum((1 - p) ** 2 * np.log(p)), p

    def backward(g, p):
        dp = -((1 - p) ** 2) / p + (0 if bug else 2 * (1 - p) * np.log(p))
        return g * dp * p * (1 - p)

    return (forward, backward), {"z": rng.standard_normal(6)}


@twins(
    "gaussian_nll",
    why="mean and log variance",
    bugs={"logvar": ("the 1/2 of the log variance is missing", ("missing-term", "scale"))},
)
def gaussian_nll(rng, bug):
    def forward(mu, lv, y):
        return np.sum(0.5 * lv + 0.5 * (y - mu) ** 2 * np.exp(-lv)), (mu, lv, y)

    def backward(g, cache):
        mu, lv, y = cache
        r = y - mu
        return -g * r * np.exp(-lv), g * ((1 if bug else 0.5) - 0.5 * r**2 * np.exp(-lv))

    return (
        (forward, backward),
        {"mu": rng.standard_normal(5), "lv": rng.standard_normal(5)},
        {"constants": {"y": rng.standard_normal(5)}},
    )


@twins("vae_kl", why="-1/2 sum(1 + lv - mu^2 - exp(lv))", bugs={"sign": ("1 - exp(lv) with a plus", ())})
def vae_kl(rng, bug):
    def forward(mu, lv):
        return -0.5 * np.sum(1 + lv - mu**2 - np.exp(lv)), (mu, lv)

    def backward(g, cache):
        mu, lv = cache
        return g * mu, g * 0.5 * (1 - np.exp(lv)) * (1 if bug else -1)

    return (forward, backward), {"mu": rng.standard_normal(4), "lv": rng.standard_normal(4)}


@item("truly_zero_loss", why="p equals y: the gradient is zero and says so", says="zero")
def truly_zero_loss(rng):
    def forward(p, y):
        return 0.5 * np.sum((p - y) ** 2), p - y

    def backward(g, d):
        return g * d

    y = rng.standard_normal((3, 2))
    return (forward, backward), {"p": y.copy()}, {"constants": {"y": y}}


@twins(
    "info_nce",
    why="similarities to all, the diagonal is the label",
    bugs={"keys": ("the keys get the transpose-free product, hidden by the square", ("transposed",))},
)
def info_nce(rng, bug):
    def forward(q, k):
        s = q @ k.T / 0.5
        p = _softmax(s)
        return -np.mean(np.log(np.diag(p))), (q, k, p)

    def backward(g, cache):
        q, k, p = cache
        ds = g * (p - np.eye(len(q))) / len(q) / 0.5
        return ds @ k, (ds if bug else ds.T) @ q

    return (forward, backward), {"q": rng.standard_normal((4, 3)), "k": rng.standard_normal((4, 3))}


@twins(
    "entropy_with_epsilon",
    why="an entropy bonus as it is written everywhere: log(p + eps), and its derivative 1 / p",
    bugs={
        "one-forgotten": "log(p) + 1 is taken for log(p) before the softmax: nothing is subtracted",
        "epsilon-apart": "the derivative is 1 / (p + 1e-4)",
    },
    tol=1e-6,
)
def entropy_with_epsilon(rng, bug):
    def forward(z):
        p = np.exp(z - z.max())
        p /= p.sum()
        return -(p * np.log(p + 1e-8)).sum(), p

    def backward(d, p):
        g = -(np.log(p + 1e-8) + (p / (p + 1e-4) if bug == "epsilon-apart" else 1.0))
        return d * p * (g if bug == "one-forgotten" else g - (p * g).sum())

    return (forward, backward), {"z": rng.standard_normal(5)}
