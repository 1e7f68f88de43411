"""Layers as people write them: normalisation, dropout, convolution, pooling, attention, recurrence."""

import numpy as np

from tests.corpus._items import item, twins
from tests.corpus.losses import _softmax


class _Dense:
    """A layer that leaves dW and db on itself."""

    def __init__(self, rng, n_in, n_out, bug=""):
        self.W = rng.standard_normal((n_in, n_out))
        self.b = rng.standard_normal(n_out)
        self.bug = bug

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.mean(axis=0) if self.bug == "mean" else dout.sum(axis=0)
        if self.bug == "updated":
            self.W = self.W - 0.1 * self.dW
        return dout @ self.W.T


@twins(
    "dense_object",
    why="parameters and gradients on the object",
    bugs={
        "mean": ("db is a mean", ("scale", "double-batch-mean")),
        "updated": ("W is updated before it is used for dx", ("updated-weights", "missing-term")),
    },
)
def dense_object(rng, bug):
    return _Dense(rng, 3, 4, bug), {"x": rng.standard_normal((5, 3))}


@twins(
    "dense_grads_dict",
    why="params and grads in dictionaries on the object",
    bugs={"transposed": ("dW transposed, hidden by the square", ("transposed",))},
)
def dense_grads_dict(rng, bug):
    class Dense:
        def __init__(self):
            self.params = {"W": rng.standard_normal((3, 3)), "b": np.zeros(3)}
            self.grads = {}

        def forward(self, x):
            self.x = x
            return x @ self.params["W"] + self.params["b"]

        def backward(self, grad):
            dW = self.x.T @ grad
            self.grads["W"] = dW.T if bug else dW
            self.grads["b"] = grad.sum(axis=0)
            return grad @ self.params["W"].T

    return Dense(), {"x": rng.standard_normal((5, 3))}


@twins(
    "batchnorm_train",
    why="the three terms of dx, gamma not 1",
    bugs={
        "constant": ("mean and variance taken as constant", ("missing-term",)),
        "no-mean": ("the path through the mean is missing", ("missing-term",)),
        "gamma": ("gamma is missing in dx", ("missing-term",)),
        "ddof": ("N - 1 for N in the variance path", ()),
    },
)
def batchnorm_train(rng, bug):
    eps = 1e-5

    def batchnorm_forward(x, gamma, beta):
        mu, var = x.mean(axis=0), x.var(axis=0)
        std = np.sqrt(var + eps)
        xhat = (x - mu) / std
        return gamma * xhat + beta, (xhat, gamma, std)

    def batchnorm_backward(dout, cache):
        xhat, gamma, std = cache
        N = dout.shape[0]
        dxhat = dout * (1 if bug == "gamma" else gamma)
        dx = dxhat.copy()
        if bug not in ("constant", "no-mean"):
            dx -= dxhat.mean(axis=0)
        if bug != "constant":
            dx -= xhat * (dxhat * xhat).sum(axis=0) / (N - 1 if bug == "ddof" else N)
        return dx / std, (dout * xhat).sum(axis=0), dout.sum(axis=0)

    return (batchnorm_forward, batchnorm_backward), {
        "x": 3 + 2 * rng.standard_normal((6, 3)),
        "gamma": rng.uniform(0.5, 2.0, 3),
        "beta": rng.standard_normal(3),
    }


@twins(
    "batchnorm_eval",
    why="running statistics are constants",
    bugs={"batch": ("the formula of training mode", ("missing-term", "extra-term"))},
)
def batchnorm_eval(rng, bug):
    def forward(x, gamma, beta, mean, var):
        std = np.sqrt(var + 1e-5)
        xhat = (x - mean) / std
        return gamma * xhat + beta, (xhat, gamma, std)

    def backward(dout, cache):
        xhat, gamma, std = cache
        d = dout * gamma
        if bug:
            d = d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0)
        return d / std, (dout * xhat).sum(axis=0), dout.sum(axis=0)

    primals = {"x": rng.standard_normal((5, 3)), "gamma": rng.uniform(0.5, 2, 3), "beta": rng.standard_normal(3)}
    return (forward, backward), primals, {"constants": {"mean": rng.standard_normal(3), "var": rng.uniform(0.5, 2, 3)}}


@twins(
    "batchnorm_running_state",
    why="training updates running statistics on the object, the output does not use them",
    bugs={"gamma": ("dgamma without xhat", ())},
)
def batchnorm_running_state(rng, bug):
    class BatchNorm:
        def __init__(self):
            self.gamma = np.array([1.5, 0.5, 2.0])
            self.beta = np.array([0.1, -0.2, 0.3])
            self.running_mean = np.zeros(3)
            self.running_var = np.ones(3)
            self.momentum = 0.9

        def forward(self, x):
            mu, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
            self.std = np.sqrt(var + 1e-5)
            self.xhat = (x - mu) / self.std
            return self.gamma * self.xhat + self.beta

        def backward(self, dout):
            self.dgamma = (dout if bug else dout * self.xhat).sum(axis=0)
            self.dbeta = dout.sum(axis=0)
            d = dout * self.gamma
            return (d - d.mean(axis=0) - self.xhat * (d * self.xhat).mean(axis=0)) / self.std

    return BatchNorm(), {"x": rng.standard_normal((6, 3))}


@twins("batchnorm_images", why="statistics over N, H, W", bugs={"n": ("divided by N instead of N H W", ())})
def batchnorm_images(rng, bug):
    ax = (0, 2, 3)

    def forward(x, gamma, beta):
        mu, var = x.mean(axis=ax, keepdims=True), x.var(axis=ax, keepdims=True)
        std = np.sqrt(var + 1e-5)
        xhat = (x - mu) / std
        return gamma[None, :, None, None] * xhat + beta[None, :, None, None], (xhat, gamma, std)

    def backward(dout, cache):
        xhat, gamma, std = cache
        m = dout.shape[0] * (1 if bug else dout.shape[2] * dout.shape[3])
        d = dout * gamma[None, :, None, None]
        dx = (d - d.sum(axis=ax, keepdims=True) / m - xhat * (d * xhat).sum(axis=ax, keepdims=True) / m) / std
        return dx, (dout * xhat).sum(axis=ax), dout.sum(axis=ax)

    primals = {
        "x": rng.standard_normal((2, 3, 2, 3)),
        "gamma": rng.uniform(0.5, 2, 3),
        "beta": rng.standard_normal(3),
    }
    return (forward, backward), primals


@twins(
    "layernorm",
    why="gamma acts before the Jacobian of the normalisation",
    bugs={
        "gamma-after": ("gamma multiplied after the Jacobian", ()),
        "axis": ("dgamma summed over features, hidden by the square", ("wrong-axis",)),
    },
)
def layernorm(rng, bug):
    def forward(x, gamma, beta):
        mu, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
        rstd = 1 / np.sqrt(var + 1e-5)
        xhat = (x - mu) * rstd
        return gamma * xhat + beta, (xhat, gamma, rstd)

    def backward(dout, cache):
        xhat, gamma, rstd = cache
        d = dout if bug == "gamma-after" else dout * gamma
        dx = rstd * (d - d.mean(axis=1, keepdims=True) - xhat * (d * xhat).mean(axis=1, keepdims=True))
        if bug == "gamma-after":
            dx = dx * gamma
        ax = 1 if bug == "axis" else 0
        return dx, (dout * xhat).sum(axis=ax), dout.sum(axis=0)

    return (forward, backward), {
        "x": rng.standard_normal((4, 4)),
        "gamma": rng.uniform(0.5, 2.0, 4),
        "beta": rng.standard_normal(4),
    }


@twins("groupnorm", why="2 groups of 2 channels", bugs={"groups": ("the means are taken over all channels", ())})
def groupnorm(rng, bug):
    G = 2

    def forward(x, gamma):
        N, _C, _H, _W = x.shape
        xg = x.reshape(N, G, -1)
        std = np.sqrt(xg.var(axis=2, keepdims=True) + 1e-5)
        xhat = (xg - xg.mean(axis=2, keepdims=True)) / std
        return xhat.reshape(x.shape) * gamma[:, None, None], (xhat, std, gamma)

    def backward(dout, cache):
        xhat, std, gamma = cache
        d = (dout * gamma[:, None, None]).reshape(xhat.shape)
        ax = (1, 2) if bug else 2
        dx = (d - d.mean(axis=ax, keepdims=True) - xhat * (d * xhat).mean(axis=ax, keepdims=True)) / std
        return dx.reshape(dout.shape), (dout * xhat.reshape(dout.shape)).sum(axis=(0, 2, 3))

    return (forward, backward), {"x": rng.standard_normal((2, 4, 2, 2)), "gamma": rng.uniform(0.5, 2, 4)}


@twins(
    "rmsnorm",
    why="x / rms(x) * g",
    bugs={
        "row": ("the row term is added along columns, hidden by the square (attorch#17)", ("wrong-axis",)),
        "constant": ("rms taken as constant", ("missing-term",)),
    },
)
def rmsnorm(rng, bug):
    def forward(x, g):
        r = 1 / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-6)
        return x * r * g, (x, r, g)

    def backward(dout, cache):
        x, r, g = cache
        d = dout * g
        s = (d * x).mean(axis=1)
        term = {"row": s[None, :], "constant": 0.0}.get(bug, s[:, None])
        rr = r[:, 0][None, :] if bug == "row" else r
        return d * r - x * rr**3 * term, (dout * x * r).sum(axis=0)

    return (forward, backward), {"x": rng.standard_normal((4, 4)), "g": rng.uniform(0.5, 2, 4)}


@twins(
    "dropout_fixed_mask",
    why="the mask is a constant, inverted scaling",
    bugs={
        "scale": ("1 / keep is missing in backward", ("scale",)),
        "mask": ("the mask is not applied in backward", ("wrong-mask", "extra-term")),
    },
)
def dropout_fixed_mask(rng, bug):
    keep = 0.6

    def forward(x, mask):
        return x * mask / keep, mask

    def backward(dout, mask):
        return dout * (1 if bug == "mask" else mask) / (1 if bug == "scale" else keep)

    return (forward, backward), {"x": rng.standard_normal((4, 5))}, {"constants": {"mask": rng.random((4, 5)) < keep}}


@twins(
    "dropout_seeded",
    why="the generator is seeded inside forward: the same mask every time",
    bugs={"complement": ("the complement of the mask", ("wrong-mask",))},
)
def dropout_seeded(rng, bug):
    def dropout_forward(x, dropout_param):
        np.random.seed(dropout_param["seed"])  # noqa: NPY002 - CS231n does exactly this
        mask = (np.random.rand(*x.shape) < dropout_param["p"]) / dropout_param["p"]  # noqa: NPY002 - as above
        return x * mask, mask

    def dropout_backward(dout, mask):
        return dout * ((mask == 0) if bug else mask)

    return (
        (dropout_forward, dropout_backward),
        {"x": rng.standard_normal((4, 5))},
        {"constants": {"dropout_param": {"p": 0.7, "seed": 3}}},
    )


def _conv_loops(bug, stride, p):
    def conv_forward_naive(x, w, b):
        N, _C, H, W = x.shape
        F, _, HH, WW = w.shape
        xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        oh, ow = 1 + (H + 2 * p - HH) // stride, 1 + (W + 2 * p - WW) // stride
        out = np.zeros((N, F, oh, ow))
        for n in range(N):
            for f in range(F):
                for i in range(oh):
                    for j in range(ow):
                        window = xp[n, :, i * stride : i * stride + HH, j * stride : j * stride + WW]
                        out[n, f, i, j] = np.sum(window * w[f]) + b[f]
        return out, (x, w, xp)

    def conv_backward_naive(dout, cache):
        x, w, xp = cache
        N, _C, H, W = x.shape
        F, _, HH, WW = w.shape
        dxp, dw, db = np.zeros_like(xp), np.zeros_like(w), np.zeros(F)
        for n in range(N):
            for f in range(F):
                db[f] += dout[n, f, 0, 0] if bug == "bias" else dout[n, f].sum()
                for i in range(dout.shape[2]):
                    for j in range(dout.shape[3]):
                        s = 1 if bug == "stride" else stride
                        rows, cols = slice(i * stride, i * stride + HH), slice(j * s, j * s + WW)
                        dw[f] += dout[n, f, i, j] * xp[n, :, rows, cols]
                        if bug == "assign":
                            dxp[n, :, rows, cols] = dout[n, f, i, j] * w[f]
                        elif bug == "flip":
                            dxp[n, :, rows, cols] += dout[n, f, i, j] * w[f, :, ::-1, ::-1]
                        else:
                            dxp[n, :, rows, cols] += dout[n, f, i, j] * w[f]
        off = p + 1 if bug == "crop" else p
        return dxp[:, :, off : off + H, p : p + W], dw, db

    return conv_forward_naive, conv_backward_naive


def _conv_primals(rng):
    return {
        "x": rng.standard_normal((2, 2, 5, 6)),
        "w": rng.standard_normal((3, 2, 3, 2)),
        "b": rng.standard_normal(3),
    }


@twins(
    "conv_loops",
    why="stride 2 that does not divide, pad 1, non-square kernel and image",
    bugs={
        "assign": ("= for += where windows overlap", ("missing-term", "dropped-samples")),
        "flip": ("the kernel is flipped once too often", ("permuted", "transposed")),
        "stride": ("the stride is forgotten along the width", ()),
        "bias": ("db from the first pixel only", ("dropped-samples", "missing-term")),
        "crop": ("the padding is cut one row too late", ()),
    },
)
def conv_loops(rng, bug):
    return _conv_loops(bug, 2, 1), _conv_primals(rng)


@twins(
    "conv_loops_no_pad",
    why="stride 1, pad 0: dx[p:-p] would be empty",
    bugs={"assign": ("= for +=", ("missing-term", "dropped-samples"))},
)
def conv_loops_no_pad(rng, bug):
    return _conv_loops(bug, 1, 0), _conv_primals(rng)


@twins(
    "conv_im2col",
    why="im2col by index arrays, stride 2, pad 1, non-square",
    bugs={
        "col2im": ("dxp[idx] += cols: overlapping pixels keep one contribution", ("repeated-indices", "missing-term")),
        "order": ("dout flattened with filters last", ("permuted", "layout")),
    },
)
def conv_im2col(rng, bug):
    stride, p = 2, 1

    def indices(shape, HH, WW):
        _, C, H, W = shape
        oh, ow = (H + 2 * p - HH) // stride + 1, (W + 2 * p - WW) // stride + 1
        k, a, b = (v.reshape(-1, 1) for v in np.mgrid[:C, :HH, :WW])
        i, j = (stride * v.reshape(1, -1) for v in np.mgrid[:oh, :ow])
        return k, a + i, b + j, oh, ow

    def forward(x, w):
        F, _C, HH, WW = w.shape
        xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        k, i, j, oh, ow = indices(x.shape, HH, WW)
        cols = xp[:, k, i, j]  # (N, C HH WW, oh ow)
        out = w.reshape(F, -1) @ cols
        return out.reshape(len(x), F, oh, ow), (x.shape, xp.shape, w, cols)

    def backward(dout, cache):
        shape, padded, w, cols = cache
        F, _C, HH, WW = w.shape
        d = dout.transpose(0, 2, 3, 1).reshape(len(dout), F, -1) if bug == "order" else dout.reshape(len(dout), F, -1)
        dw = (d @ cols.transpose(0, 2, 1)).sum(axis=0).reshape(w.shape)
        dcols = w.reshape(F, -1).T @ d
        dxp = np.zeros(padded)
        k, i, j, _, _ = indices(shape, HH, WW)
        if bug == "col2im":
            dxp[:, k, i, j] += dcols
        else:
            np.add.at(dxp, (slice(None), k, i, j), dcols)
        return dxp[:, :, p:-p, p:-p], dw

    primals = _conv_primals(rng)
    del primals["b"]
    return (forward, backward), primals


@twins(
    "conv1d_valid",
    why="np.convolve: the kernel is flipped",
    bugs={"flip": ("correlate and convolve exchanged in dx", ("permuted",))},
)
def conv1d_valid(rng, bug):
    def forward(x, k):
        return np.convolve(x, k, mode="valid"), (x, k)

    def backward(g, cache):
        x, k = cache
        dx = np.convolve(g, k if bug else k[::-1], mode="full")
        dk = np.convolve(x[::-1], g, mode="valid")
        return dx, dk

    return (forward, backward), {"x": rng.standard_normal(8), "k": rng.standard_normal(3)}


@twins(
    "conv_transpose",
    why="stride 2: a scatter of kernels",
    bugs={"first": ("w read with in and out exchanged, hidden by equal channels", ("transposed", "permuted"))},
)
def conv_transpose(rng, bug):
    s = 2

    def forward(x, w):
        _C, H, W = x.shape
        _, F, k, m = w.shape
        out = np.zeros((F, (H - 1) * s + k, (W - 1) * s + m))
        for i in range(H):
            for j in range(W):
                out[:, i * s : i * s + k, j * s : j * s + m] += np.tensordot(x[:, i, j], w, axes=1)
        return out, (x, w)

    def backward(g, cache):
        x, w = cache
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        _, _F, k, m = w.shape
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                window = g[:, i * s : i * s + k, j * s : j * s + m]
                dx[:, i, j] = np.tensordot(w.transpose(1, 0, 2, 3) if bug else w, window, axes=3)
                dw += np.multiply.outer(x[:, i, j], window)
        return dx, dw

    return (forward, backward), {"x": rng.standard_normal((2, 3, 2)), "w": rng.standard_normal((2, 2, 3, 2))}


@twins(
    "max_pool_overlap",
    why="3 x 3 windows with stride 2 overlap",
    bugs={"assign": ("= for +=", ("missing-term", "dropped-samples"))},
)
def max_pool_overlap(rng, bug):
    k, s = 3, 2

    def forward(x):
        oh, ow = (x.shape[1] - k) // s + 1, (x.shape[2] - k) // s + 1
        out = np.zeros((len(x), oh, ow))
        for i in range(oh):
            for j in range(ow):
                out[:, i, j] = x[:, i * s : i * s + k, j * s : j * s + k].max(axis=(1, 2))
        return out, x

    def backward(g, x):
        dx = np.zeros_like(x)
        for n in range(len(x)):
            for i in range(g.shape[1]):
                for j in range(g.shape[2]):
                    w = x[n, i * s : i * s + k, j * s : j * s + k]
                    a, b = np.unravel_index(w.argmax(), w.shape)
                    if bug:
                        dx[n, i * s + a, j * s + b] = g[n, i, j]
                    else:
                        dx[n, i * s + a, j * s + b] += g[n, i, j]
        return dx

    x = rng.standard_normal((2, 5, 7))
    x[:, 2, 2] = 4.0  # shared by four windows
    return (forward, backward), {"x": x}


@twins(
    "max_pool_mask",
    why="non-overlapping, by a mask over a 6-d view",
    bugs={"window": ("rows and columns of the window exchanged, hidden by 2 x 2", ("transposed", "permuted"))},
)
def max_pool_mask(rng, bug):
    def forward(x):
        N, H, W = x.shape
        v = x.reshape(N, H // 2, 2, W // 2, 2)
        out = v.max(axis=(2, 4))
        return out, (x.shape, v == out[:, :, None, :, None])

    def backward(g, cache):
        shape, mask = cache
        d = g[:, :, None, :, None] * (mask.swapaxes(2, 4) if bug else mask)
        return d.reshape(shape)

    return (forward, backward), {"x": rng.standard_normal((2, 4, 6))}


@twins(
    "avg_pool_overlap",
    why="windows of 3, stride 2: 1/9 each",
    bugs={"area": ("not divided by the area", ("scale",)), "one-side": ("divided by 3", ("scale",))},
)
def avg_pool_overlap(rng, bug):
    k, s = 3, 2

    def forward(x):
        oh, ow = (x.shape[0] - k) // s + 1, (x.shape[1] - k) // s + 1
        return np.array(
            [[x[i * s : i * s + k, j * s : j * s + k].mean() for j in range(ow)] for i in range(oh)]
        ), x.shape

    def backward(g, shape):
        dx = np.zeros(shape)
        for i in range(g.shape[0]):
            for j in range(g.shape[1]):
                dx[i * s : i * s + k, j * s : j * s + k] += g[i, j] / {"area": 1, "one-side": k}.get(bug, k * k)
        return dx

    return (forward, backward), {"x": rng.standard_normal((5, 7))}


@twins(
    "attention_causal",
    why="scaled dot product with a causal mask of -inf",
    bugs={
        "scale": ("1 / sqrt(d) is missing in dq and dk", ("scale",)),
        "softmax": ("s (1 - s) for the softmax", ("softmax-elementwise",)),
        "key": ("ds for its transpose in dk, hidden by T = T", ("transposed",)),
    },
)
def attention_causal(rng, bug):
    def forward(q, k, v):
        T, d = q.shape
        s = q @ k.T / np.sqrt(d)
        s = np.where(np.tril(np.ones((T, T), dtype=bool)), s, -np.inf)
        a = _softmax(s)
        return a @ v, (q, k, v, a)

    def backward(g, cache):
        q, k, v, a = cache
        da = g @ v.T
        ds = da * a * (1 - a) if bug == "softmax" else a * (da - (da * a).sum(axis=1, keepdims=True))
        if bug != "scale":
            ds = ds / np.sqrt(q.shape[1])
        return ds @ k, (ds if bug == "key" else ds.T) @ q, a.T @ g

    return (forward, backward), {k: rng.standard_normal((4, 3)) for k in "qkv"}


@item("attention_key_bias", why="the gradient of a key bias is truly zero: softmax does not see a shift")
def attention_key_bias(rng):
    def forward(q, k, v, b):
        a = _softmax(q @ (k + b).T)
        return a @ v, (q, k + b, v, a)

    def backward(g, cache):
        q, kb, v, a = cache
        da = g @ v.T
        ds = a * (da - (da * a).sum(axis=1, keepdims=True))
        dk = ds.T @ q
        return ds @ kb, dk, a.T @ g, dk.sum(axis=0)

    return (forward, backward), {**{k: rng.standard_normal((4, 3)) for k in "qkv"}, "b": rng.standard_normal(3)}


@twins(
    "rnn",
    why="CS231n's rnn_forward and rnn_backward through time",
    bugs={
        "carry": ("dh is not carried back in time", ("missing-term",)),
        "last": ("Whh transposed the wrong way, hidden by the square", ("transposed",)),
        "dWx-last": ("dWx of the last step only", ("missing-term", "dropped-samples")),
        "tanh": (
            "the tanh derivative at the input",
            ("derivative-of-activation-not-preactivation", "missing-activation-derivative"),
        ),
    },
)
def rnn(rng, bug):
    def rnn_forward(x, h0, Wx, Wh, b):
        N, T, _D = x.shape
        h = np.zeros((N, T, h0.shape[1]))
        prev = h0
        for t in range(T):
            prev = np.tanh(x[:, t] @ Wx + prev @ Wh + b)
            h[:, t] = prev
        return h, (x, h0, Wx, Wh, h)

    def rnn_backward(dh, cache):
        x, h0, Wx, Wh, h = cache
        _N, T, _D = x.shape
        dx, dWx, dWh, db = np.zeros_like(x), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(Wh.shape[0])
        carry = np.zeros_like(h0)
        for t in reversed(range(T)):
            prev = h[:, t - 1] if t > 0 else h0
            total = dh[:, t] + (0 if bug == "carry" else carry)
            dz = total * (1 - np.tanh(h[:, t]) ** 2 if bug == "tanh" else 1 - h[:, t] ** 2)
            dx[:, t] = dz @ Wx.T
            dWx = (0 if bug == "dWx-last" else dWx) + x[:, t].T @ dz
            dWh += prev.T @ dz
            db += dz.sum(axis=0)
            carry = dz @ (Wh if bug == "last" else Wh.T)
        return dx, carry, dWx, dWh, db

    N, T, D, H = 2, 3, 4, 5
    return (rnn_forward, rnn_backward), {
        "x": rng.standard_normal((N, T, D)),
        "h0": rng.standard_normal((N, H)),
        "Wx": rng.standard_normal((D, H)) / 2,
        "Wh": rng.standard_normal((H, H)) / 2,
        "b": rng.standard_normal(H),
    }


def _sig(z):
    return 1 / (1 + np.exp(-z))


@twins(
    "lstm",
    why="CS231n's lstm through time",
    bugs={
        "cell": (
            "the cell gradient forgets the way through tanh(c)",
            ("missing-term", "missing-activation-derivative"),
        ),
        "forget": ("the cell gradient is not multiplied by f on the way back", ("missing-term",)),
        "gate": ("the candidate's derivative is a sigmoid's", ()),
    },
)
def lstm(rng, bug):
    def forward(x, h0, Wx, Wh, b):
        N, T, _D = x.shape
        H = h0.shape[1]
        h, c = h0, np.zeros_like(h0)
        hs, cache = np.zeros((N, T, H)), []
        for t in range(T):
            a = x[:, t] @ Wx + h @ Wh + b
            i, f, o, g = _sig(a[:, :H]), _sig(a[:, H : 2 * H]), _sig(a[:, 2 * H : 3 * H]), np.tanh(a[:, 3 * H :])
            c_next = f * c + i * g
            cache.append((x[:, t], h, c, i, f, o, g, c_next))
            h, c = o * np.tanh(c_next), c_next
            hs[:, t] = h
        return hs, (cache, Wx, Wh)

    def backward(dhs, stuff):
        cache, Wx, Wh = stuff
        N, T, H = dhs.shape
        dx, dWx, dWh, db = np.zeros((N, T, Wx.shape[0])), np.zeros_like(Wx), np.zeros_like(Wh), np.zeros(4 * H)
        dh, dc = np.zeros((N, H)), np.zeros((N, H))
        for t in reversed(range(T)):
            xt, hp, cp, i, f, o, g, c = cache[t]
            dh = dh + dhs[:, t]
            tc = np.tanh(c)
            dc = dc + dh * o * (1 if bug == "cell" else 1 - tc**2)
            dg = dc * i * (g * (1 - g) if bug == "gate" else 1 - g**2)
            da = np.hstack([dc * g * i * (1 - i), dc * cp * f * (1 - f), dh * tc * o * (1 - o), dg])
            dx[:, t] = da @ Wx.T
            dWx += xt.T @ da
            dWh += hp.T @ da
            db += da.sum(axis=0)
            dh = da @ Wh.T
            dc = dc if bug == "forget" else dc * f
        return dx, dh, dWx, dWh, db

    N, T, D, H = 2, 3, 4, 3
    return (forward, backward), {
        "x": rng.standard_normal((N, T, D)),
        "h0": rng.standard_normal((N, H)),
        "Wx": rng.standard_normal((D, 4 * H)) / 2,
        "Wh": rng.standard_normal((H, 4 * H)) / 2,
        "b": rng.standard_normal(4 * H),
    }


@twins(
    "gru_cell",
    why="one step, reset before the product",
    bugs={
        "reset": ("the reset path back to h is missing", ("missing-term",)),
        "update": ("z and 1 - z exchanged in dh", ()),
    },
)
def gru_cell(rng, bug):
    def forward(x, h, Wz, Wr, Wc):
        xh = np.hstack([x, h])
        z, r = _sig(xh @ Wz), _sig(xh @ Wr)
        c = np.tanh(np.hstack([x, r * h]) @ Wc)
        return (1 - z) * h + z * c, (x, h, Wz, Wr, Wc, z, r, c)

    def backward(g, cache):
        x, h, Wz, Wr, Wc, z, r, c = cache
        D = x.shape[1]
        xh, xrh = np.hstack([x, h]), np.hstack([x, r * h])
        dc = g * z * (1 - c**2)
        dz = g * (c - h) * z * (1 - z)
        dxrh = dc @ Wc.T
        dr = dxrh[:, D:] * h * r * (1 - r)
        dxh = dz @ Wz.T + dr @ Wr.T
        dx = dxh[:, :D] + dxrh[:, :D]
        dh = dxh[:, D:] + (0 if bug == "reset" else dxrh[:, D:] * r) + g * (z if bug == "update" else 1 - z)
        return dx, dh, xh.T @ dz, xh.T @ dr, xrh.T @ dc

    N, D, H = 3, 2, 4
    W = {k: rng.standard_normal((D + H, H)) / 2 for k in ("Wz", "Wr", "Wc")}
    return (forward, backward), {"x": rng.standard_normal((N, D)), "h": rng.standard_normal((N, H)), **W}


@twins(
    "residual",
    why="x + f(x): a diamond",
    bugs={
        "branch": ("the identity branch is lost", ("missing-term",)),
        "twice": ("the identity branch is visited twice", ("extra-term",)),
    },
)
def residual(rng, bug):
    def forward(x, W):
        a = np.tanh(x @ W)
        return x + a, (x, W, a)

    def backward(g, cache):
        x, W, a = cache
        dz = g * (1 - a**2)
        return dz @ W.T + {"branch": 0, "twice": 2}.get(bug, 1) * g, x.T @ dz

    return (forward, backward), {"x": rng.standard_normal((4, 3)), "W": rng.standard_normal((3, 3)) / 2}


@twins("highway", why="t h + (1 - t) x", bugs={"carry": ("the carry gate's gradient misses - x", ("missing-term",))})
def highway(rng, bug):
    def forward(x, Wt, Wh):
        t, h = _sig(x @ Wt - 1), np.tanh(x @ Wh)
        return t * h + (1 - t) * x, (x, Wt, Wh, t, h)

    def backward(g, cache):
        x, Wt, Wh, t, h = cache
        dzt = g * (h - (0 if bug else x)) * t * (1 - t)
        dzh = g * t * (1 - h**2)
        return dzt @ Wt.T + dzh @ Wh.T + g * (1 - t), x.T @ dzt, x.T @ dzh

    return (forward, backward), {
        "x": rng.standard_normal((4, 3)),
        "Wt": rng.standard_normal((3, 3)),
        "Wh": rng.standard_normal((3, 3)),
    }


@twins(
    "softmax_full_jacobian",
    why="diag(s) - s s^T per sample in a loop",
    bugs={
        "plus": ("diag(s) + s s^T", ()),
        "row-sums": ("the upstream is ignored: row sums of the Jacobian", ("upstream-ignored", "zeroed-entries")),
    },
)
def softmax_full_jacobian(rng, bug):
    def forward(z):
        s = _softmax(z)
        return s, s

    def backward(dvalues, s):
        d = np.empty_like(dvalues)
        for i, (row, dv) in enumerate(zip(s, dvalues, strict=True)):
            J = np.diagflat(row) + (1 if bug == "plus" else -1) * np.outer(row, row)
            d[i] = J.sum(axis=1) if bug == "row-sums" else J @ dv
        return d

    return (forward, backward), {"z": rng.standard_normal((3, 4))}


@twins(
    "maxout",
    why="the best of three affine pieces",
    bugs={"all": ("every piece gets the gradient", ("wrong-mask", "extra-term"))},
)
def maxout(rng, bug):
    def forward(x, W):
        z = np.einsum("nd,kdh->nkh", x, W)
        return z.max(axis=1), (x, W, z == z.max(axis=1, keepdims=True))

    def backward(g, cache):
        x, W, m = cache
        dz = g[:, None, :] * (1.0 if bug else m)
        dz = np.broadcast_to(dz, m.shape)
        return np.einsum("nkh,kdh->nd", dz, W), np.einsum("nd,nkh->kdh", x, dz)

    return (forward, backward), {"x": rng.standard_normal((4, 3)), "W": rng.standard_normal((3, 3, 2))}


@twins("prelu", why="one slope per channel", bugs={"slope": ("da is not masked", ("wrong-mask", "extra-term"))})
def prelu(rng, bug):
    def forward(x, a):
        return np.where(x > 0, x, a * x), (x, a)

    def backward(g, cache):
        x, a = cache
        return g * np.where(x > 0, 1, a), (g * x * (1 if bug else x <= 0)).sum(axis=0)

    return (forward, backward), {"x": rng.standard_normal((5, 3)), "a": np.array([0.1, 0.25, 0.5])}


@twins("weight_norm", why="w = g v / |v|", bugs={"projection": ("v is not projected", ("missing-term",))})
def weight_norm(rng, bug):
    def forward(x, v, g):
        n = np.sqrt((v**2).sum(axis=0))
        w = g * v / n
        return x @ w, (x, v, g, n, w)

    def backward(dout, cache):
        x, v, g, n, w = cache
        dw = x.T @ dout
        dg = (dw * v).sum(axis=0) / n
        dv = g / n * dw - (0 if bug else g * dg / n**2 * v)
        return dout @ w.T, dv, dg

    return (forward, backward), {
        "x": rng.standard_normal((5, 3)),
        "v": rng.standard_normal((3, 4)),
        "g": rng.uniform(0.5, 2, 4),
    }
