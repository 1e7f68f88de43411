"""Forms of code that one operation is written in: pullbacks, ctx, nested mappings, complex numbers, in place."""

import numpy as np

from tests.corpus._items import item, twins

DRIVEN = "reason: the drive of the soundness test knows no such form; right by the pen, and the wrong twin by a factor"
COMPLEX = "reason: the soundness test differentiates real numbers only; |z|^2 and products by the pen"
DRAWS = "reason: the mask is drawn again in every forward"


def _numbers(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@twins(
    "pullback",
    why="one function returns (out, pullback), as jax.vjp does",
    bugs={"slope": ("1 - y for 1 - y^2", ("missing-activation-derivative",))},
    truth=DRIVEN,
    differs=DRIVEN,
)
def pullback(rng, bug):
    def layer(x, W):
        y = np.tanh(x @ W)

        def back(u):
            d = u * (1 - (y if bug else y**2))
            return d @ W.T, x.T @ d

        return y, back

    return layer, {"x": rng.standard_normal((4, 3)), "W": rng.standard_normal((3, 2))}


@twins(
    "ctx",
    why="static forward(ctx, ...) and backward(ctx, g) without torch",
    bugs={"swapped": ("each gets the factor of the other", ("permuted",))},
    truth=DRIVEN,
    differs=DRIVEN,
)
def ctx(rng, bug):
    class Multiply:
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return (g * a, g * b) if bug else (g * b, g * a)

    return Multiply, {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal((3, 4))}


@twins(
    "nested",
    why="gradients in nested mappings, by layer",
    bugs={"mean": ("the bias is averaged once more", ("double-batch-mean", "scale"))},
    truth=DRIVEN,
    differs=DRIVEN,
)
def nested(rng, bug):
    X, t = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))

    def loss(fc1_W, fc1_b, fc2_W):
        h = np.tanh(X @ fc1_W + fc1_b)
        r = h @ fc2_W - t
        d = r @ fc2_W.T * (1 - h * h)
        own = d.mean(0) if bug else d.sum(0)
        return 0.5 * np.sum(r**2), {"fc1": {"W": X.T @ d, "b": own}, "fc2": {"W": h.T @ r}}

    return loss, {
        "fc1_W": rng.standard_normal((3, 4)),
        "fc1_b": rng.standard_normal(4),
        "fc2_W": rng.standard_normal((4, 2)),
    }


@twins("none_cache", why="forward returns (out, None): an object behind it has the cache", bugs={"slope": "s (1 - x)"})
def none_cache(rng, bug):
    kept = {}

    def forward(x):
        kept["x"], kept["s"] = x, 1 / (1 + np.exp(-x))
        return kept["s"], None

    def backward(u, _):
        s = kept["s"]
        return u * s * (1 - (kept["x"] if bug else s))

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@item("stack", why="forward pushes what backward pops: backward runs once per forward", truth=DRIVEN)
def stack(rng):
    class Normalise:
        def __init__(self):
            self.stack = []

        def forward(self, x):
            n = np.sqrt((x**2).sum(1, keepdims=True))
            self.stack.append((x, n))
            return x / n

        def backward(self, u):
            x, n = self.stack.pop()
            return u / n - x * (u * x).sum(1, keepdims=True) / n**3

    return Normalise(), {"x": rng.standard_normal((4, 3))}


@twins(
    "complex_torch",
    why="torch's gradient of a complex tensor is dL/dRe + i dL/dIm",
    bugs={"half": ("d|z|^2 without the 2", ("scale",))},
    truth=COMPLEX,
    differs=COMPLEX,
)
def complex_torch(rng, bug):
    import torch

    class Power(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return (z * z.conj()).real

        @staticmethod
        def backward(ctx, g):
            (z,) = ctx.saved_tensors
            return (1 if bug else 2) * g * z

    return Power, {"z": _numbers(rng, 3, 2)}


@twins(
    "complex_product",
    why="a holomorphic product in NumPy, the conjugate of the other factor",
    bugs={"real": ("the imaginary part is dropped", ("zeroed-entries",))},
    truth=COMPLEX,
    differs=COMPLEX,
)
def complex_product(rng, bug):
    def backward(g, cache):
        a, w = cache
        found = g @ w.conj().T, a.conj().T @ g
        return tuple(d.real for d in found) if bug else found

    return (lambda a, w: (a @ w, (a, w)), backward), {"a": _numbers(rng, 4, 3), "w": _numbers(rng, 3, 2)}


@twins(
    "complex_wirtinger",
    why="the other convention: gradient and upstream are conjugates of torch's",
    bugs={"factor": ("one part in 1e5 too large", ("scale",))},
    truth=COMPLEX,
    differs=COMPLEX,
)
def complex_wirtinger(rng, bug):
    def backward(g, cache):
        a, w = cache
        d = 2 * g * (a @ w) * (1 + 1e-5 * bool(bug))
        return d @ w.T, a.T @ d

    return (lambda a, w: ((a @ w) ** 2, (a, w)), backward), {"a": _numbers(rng, 4, 3), "w": _numbers(rng, 3, 2)}


@twins(
    "mark_dirty",
    why="a torch function that works in place and says so",
    bugs={"slope": "0.01 for 0.1 on the negative side"},
    truth=DRIVEN,
    differs=DRIVEN,
)
def mark_dirty(rng, bug):
    import torch

    class Leaky(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(torch.where(x > 0, 1.0, 0.1).to(x.dtype))
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return g * torch.where(y > 0, 1.0, 0.01 if bug else 0.1).to(g.dtype)

    return Leaky, {"x": rng.standard_normal((4, 3))}


@item("rand_like", why="dropout that draws by rand_like: in the memory order of its argument", truth=DRAWS)
def rand_like(rng):
    import torch

    class Dropout(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            mask = (torch.rand_like(x) > 0.4).to(x.dtype) / 0.6
            ctx.save_for_backward(mask)
            return x * mask

        @staticmethod
        def backward(ctx, g):
            return g * ctx.saved_tensors[0]

    return Dropout, {"x": rng.standard_normal((5, 4))}


@twins(
    "ignored_samples",
    why="cross-entropy in float32 with an ignored sample, the mean over the others",
    bugs={
        "all": ("divided by all samples", ("scale",)),
        "kept": ("the ignored sample gets a gradient", ("wrong-mask",)),
    },
    truth="torch",
    tol=1e-5,
)
def ignored_samples(rng, bug):
    import torch

    class CrossEntropy(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            keep = y >= 0
            lp = torch.log_softmax(x, -1)
            ctx.save_for_backward(lp, y, keep)
            return -(lp[torch.arange(len(y)), y.clamp(min=0)] * keep).sum() / keep.sum()

        @staticmethod
        def backward(ctx, g):
            lp, y, keep = ctx.saved_tensors
            d = lp.exp()
            d[torch.arange(len(y)), y.clamp(min=0)] -= 1
            d = d if bug == "kept" else d * keep[:, None]
            return g * d / (len(y) if bug == "all" else keep.sum()), None

    y = torch.tensor([1, -100, 0, 3, 2])
    return CrossEntropy, {"x": rng.standard_normal((5, 4)).astype(np.float32)}, {"constants": {"y": y}}


@twins(
    "gp",
    why="log marginal likelihood of a Gaussian process, three numbers as primals",
    bugs={"twice": ("the 1/2 is missing", ("scale",)), "logdet": ("no log-determinant", ("missing-term",))},
)
def gp(rng, bug):
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    D = ((X[:, None] - X[None]) ** 2).sum(-1)

    def loss(length, height, noise):
        K0 = np.exp(height) * np.exp(-0.5 * D / np.exp(2 * length))
        L = np.linalg.cholesky(K0 + np.exp(noise) * np.eye(6))
        inverse = np.linalg.inv(L @ L.T)
        a = inverse @ y
        M = (0.0 if bug == "logdet" else 1.0) * inverse - np.outer(a, a)
        M = M if bug == "twice" else 0.5 * M
        grads = {
            "length": np.sum(M * K0 * D) / np.exp(2 * length),
            "height": np.sum(M * K0),
            "noise": np.trace(M) * np.exp(noise),
        }
        return 0.5 * y @ a + np.sum(np.log(np.diag(L))), grads

    return loss, {"length": np.array(0.1), "height": np.array(-0.2), "noise": np.array(-2.0)}


@twins(
    "class_weights",
    why="cross-entropy with a weight per class",
    bugs={"unweighted": ("the weights are left out", ("scale", "missing-term"))},
)
def class_weights(rng, bug):
    y, w = np.array([0, 2, 3, 1, 1, 2]), np.array([0.5, 1.0, 2.0, 0.7])

    def loss(z):
        s = z - z.max(1, keepdims=True)
        p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
        each = -np.log(p[np.arange(6), y])
        d = p.copy()
        d[np.arange(6), y] -= 1
        return np.sum(w[y] * each), {"z": d if bug else d * w[y][:, None]}

    return loss, {"z": rng.standard_normal((6, 4))}


@twins(
    "clipped",
    why="least squares in which nothing is clipped",
    bugs={"clip": ("clipped to [-1, 1] within backward", ("scale",))},
)
def clipped(rng, bug):
    X, t = rng.standard_normal((6, 4)), rng.standard_normal((6, 2))

    def loss(W):
        r = X @ W - t
        g = X.T @ r
        return 0.5 * np.sum(r**2), {"W": np.clip(g, -1, 1) if bug else g}

    return loss, {"W": rng.standard_normal((4, 2))}


@twins(
    "backwards_in_time",
    why="a recurrence that reads the sequence from its end",
    bugs={"order": ("what it got is not turned round again", ("permuted",))},
)
def backwards_in_time(rng, bug):
    def forward(x, W):
        return np.tanh(x[:, ::-1] @ W), (x, W)

    def backward(u, cache):
        x, W = cache
        d = u * (1 - np.tanh(x[:, ::-1] @ W) ** 2)
        dx = d @ W.T
        return dx if bug else dx[:, ::-1], np.einsum("nti,nto->io", x[:, ::-1], d)

    return (forward, backward), {"x": rng.standard_normal((2, 4, 3)), "W": rng.standard_normal((3, 3))}


@twins(
    "stopped",
    why="a contrastive loss of a module, both sides in the gradient",
    bugs={"detach": ("one side is detached in forward, undeclared", ("detached",))},
    truth=DRIVEN,
    differs=DRIVEN,
)
def stopped(rng, bug):
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.f = torch.nn.Linear(4, 3).double()

        def forward(self, x):
            a = self.f(x)
            b = a.roll(1, 0)
            return -(a * (b.detach() if bug else b)).mean()

    return Net(), {"x": rng.standard_normal((5, 4))}


@twins(
    "torch_by_hand",
    why="forward and backward in torch without autograd, on NumPy primals",
    bugs={"slope": ("a for a (1 - a)", ("missing-activation-derivative",))},
    truth=DRIVEN,
    differs=DRIVEN,
)
def torch_by_hand(rng, bug):
    import torch

    def forward(x, W):
        y = torch.sigmoid(x @ W)
        return y, (x, W, y)

    def backward(u, cache):
        x, W, y = cache
        d = u * y if bug else u * y * (1 - y)
        return d @ W.T, x.T @ d

    return (forward, backward), {"x": rng.standard_normal((4, 3)), "W": rng.standard_normal((3, 2))}


@twins(
    "torch_loss_by_hand",
    why="one function of tensors returns the loss and its gradients",
    bugs={"twice": ("the embedding's gradient doubled", ("scale",))},
    truth=DRIVEN,
    differs=DRIVEN,
)
def torch_loss_by_hand(rng, bug):
    import torch

    y, index = torch.tensor([0, 2, 1, 1]), torch.tensor([0, 1, 1, 3])

    def loss(C, W):
        x = C[index]
        h = torch.tanh(x @ W)
        lp = torch.log_softmax(h, 1)
        d = lp.exp()
        d[range(4), y] -= 1
        d = d / 4 * (1 - h * h)
        dC = torch.zeros_like(C).index_add_(0, index, d @ W.T)
        return -lp[range(4), y].mean(), {"C": dC * (2 if bug else 1), "W": x.T @ d}

    return loss, {"C": torch.tensor(rng.standard_normal((5, 3))), "W": torch.tensor(rng.standard_normal((3, 3)))}
