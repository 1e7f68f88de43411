"""float32, bfloat16 and float16 implementations, in NumPy and torch."""

import numpy as np

from tests.corpus._items import item, twins


def _f32(primals):
    return {k: np.asarray(v, dtype=np.float32) for k, v in primals.items()}


def _layer(bug="", scale=1.0):
    """tanh(x W + b) in whatever dtype it is given."""

    def forward(x, W, b):
        a = np.tanh(x @ W + b)
        return a * x.dtype.type(scale), (x, W, a)

    def backward(g, cache):
        x, W, a = cache
        dz = g * (1 - a * a) * x.dtype.type(scale)
        dW = x.T @ dz
        if bug == "entry":
            i = np.unravel_index(np.argmax(np.abs(dW)), dW.shape)
            dW[i] *= dW.dtype.type(1.001)
        if bug == "double":
            dW = dW * dW.dtype.type(2)
        db = dz.sum(axis=0)
        if bug == "db64":
            db = db.astype(np.float64)
        return dz @ W.T, dW, db

    return forward, backward


def _layer_primals(rng, size=1.0):
    return {"x": rng.standard_normal((5, 4)), "W": size * rng.standard_normal((4, 3)) / 2, "b": rng.standard_normal(3)}


F32_BUGS = {
    "entry": ("the largest entry of dW is off by 1e-3", ()),
    "double": ("dW is doubled", ("scale",)),
}

for _name, _scale, _why in (
    ("float32_layer", 1.0, "a float32 layer passes with defaults"),
    ("float32_layer_1e-6", 1e-6, "a float32 layer with outputs near 1e-6"),
    ("float32_layer_1e6", 1e6, "a float32 layer with outputs near 1e6"),
    ("float32_layer_1e-20", 1e-20, "a float32 layer with outputs near 1e-20"),
):

    @twins(_name, why=_why, bugs=F32_BUGS, tol=1e-4, step=1e-1)
    def float32_layer(rng, bug, scale=_scale):
        return _layer(bug, scale), _f32(_layer_primals(rng))


@twins("float32_by_dtype", why="float64 primals, dtype='float32' asked for", bugs=F32_BUGS)
def float32_by_dtype(rng, bug):
    return _layer(bug), _layer_primals(rng), {"dtype": "float32"}


@twins(
    "float32_mlp_loss",
    why="a float32 network with a loss",
    bugs={
        "batch": ("1/B is missing in dW1", ("scale", "missing-batch-mean")),
        "entry": ("one entry of dW2 off by 1e-3", ()),
    },
    tol=1e-4,
    step=1e-4,
)
def float32_mlp_loss(rng, bug):
    def loss(W1, W2, X, y):
        z = X @ W1
        h = np.maximum(z, 0)
        r = h @ W2 - y
        n = X.dtype.type(len(X))
        value = np.mean(np.sum(r * r, axis=1))
        d = 2 * r / n
        dW2 = h.T @ d
        dW1 = X.T @ ((d @ W2.T) * (z > 0))
        if bug == "batch":
            dW1 = dW1 * n
        if bug == "entry":
            i = np.unravel_index(np.argmax(np.abs(dW2)), dW2.shape)
            dW2[i] *= np.float32(1.001)
        return value, {"W1": dW1, "W2": dW2}

    primals = _f32({"W1": rng.standard_normal((4, 6)), "W2": rng.standard_normal((6, 2))})
    constants = {
        "X": rng.standard_normal((8, 4)).astype(np.float32),
        "y": rng.standard_normal((8, 2)).astype(np.float32),
    }
    return loss, primals, {"constants": constants}


@twins(
    "float32_softmax_ce",
    why="float32 softmax cross-entropy: tiny p beside p near 1",
    bugs={"batch": ("1/B is missing", ("scale", "missing-batch-mean"))},
    tol=1e-4,
    step=1e-1,
)
def float32_softmax_ce(rng, bug):
    def forward(z, y):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        return -np.mean(np.log(p[np.arange(len(y)), y])), (p, y)

    def backward(g, cache):
        p, y = cache
        d = p.copy()
        d[np.arange(len(y)), y] -= 1
        return g * d / (1 if bug else p.dtype.type(len(y)))

    return (
        (forward, backward),
        _f32({"z": 3 * rng.standard_normal((6, 4))}),
        {"constants": {"y": np.array([0, 1, 2, 3, 0, 1])}},
    )


@item(
    "float32_sum_of_cancelling",
    why="x - mean(x) with nearly equal x near 1000 in float32: rounding 1e-4 of the values",
    tol=1e-3,
    step=1e-1,
)
def float32_cancelling(rng):
    def forward(x):
        c = x - x.mean(axis=0)
        return c * c, c

    def backward(g, c):
        d = 2 * g * c
        return d - d.mean(axis=0)

    return (forward, backward), _f32({"x": 1000 + rng.standard_normal((5, 3))})


@item(
    "float64_label_on_float32",
    expect="pass|fail",
    says=r"float32|single precision|digits|precision",
    why="float64 in and out, float32 inside: right to 1e-7, and the report must notice the promised digits",
    tol=1e-5,
    step=1e-1,
)
def float64_label(rng):
    def forward(x, W):
        z = x.astype(np.float32) @ W.astype(np.float32)
        a = np.tanh(z)
        return a.astype(np.float64), (x, W, a)

    def backward(g, cache):
        x, W, a = cache
        dz = g.astype(np.float32) * (1 - a * a)
        dx, dW = dz @ W.astype(np.float32).T, x.astype(np.float32).T @ dz
        return dx.astype(np.float64), dW.astype(np.float64)

    return (forward, backward), {"x": rng.standard_normal((5, 4)), "W": rng.standard_normal((4, 3))}


@item(
    "float64_forward_float32_backward",
    expect="pass|fail",
    says=r"float32|single precision|digits|precision",
    why="only backward rounds to float32: right to 1e-7 where 1e-16 is promised",
    tol=1e-5,
)
def float64_forward_float32_backward(rng):
    def forward(x):
        return np.sin(x), x

    def backward(g, x):
        return (g.astype(np.float32) * np.cos(x.astype(np.float32))).astype(np.float64)

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@item(
    "float64_label_doubled",
    expect="fail",
    why="float64 label on float32 arithmetic, and the gradient doubled",
    causes=("scale",),
    twin="precisions.float64_label_on_float32",
)
def float64_label_doubled(rng):
    (forward, backward), primals = float64_label(rng)
    return (forward, lambda g, cache: tuple(2 * d for d in backward(g, cache))), primals


@item(
    "float32_gradient_for_float64",
    expect="fail",
    causes=("dtype",),
    why="the gradient of a float64 primal comes back as float32",
    twin="precisions.float64_gradient_for_float64",
    differs="contract",
)
def float32_gradient_for_float64(rng):
    def forward(x):
        return np.sin(x), x

    def backward(g, x):
        return (g * np.cos(x)).astype(np.float32)

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@item("float64_gradient_for_float64", why="the control of the one above")
def float64_gradient_for_float64(rng):
    def forward(x):
        return np.sin(x), x

    def backward(g, x):
        return g * np.cos(x)

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


def _module(bug="", dtype="float32"):
    import torch

    class Halve(torch.autograd.Function):
        """The identity, whose gradient is not."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g * (2 if bug == "double" else 1.05)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a = torch.nn.Linear(4, 6)
            self.b = torch.nn.Linear(6, 3)

        def forward(self, x):
            h = torch.tanh(self.a(x))
            if bug:
                h = Halve.apply(h)
            return self.b(h)

    return Net().to(getattr(torch, dtype))


MODULE_BUGS = {
    "double": ("a link of the graph doubles the gradient", ("scale",)),
    "five-percent": ("a link of the graph is off by 5 %", ("scale",)),
}


@twins("torch_module_float64", why="a module in float64", bugs=MODULE_BUGS, truth="torch")
def torch_module_float64(rng, bug):
    return _module(bug, "float64"), {"x": rng.standard_normal((5, 4))}


@twins("torch_module_float32", why="a module in float32", bugs=MODULE_BUGS, truth="torch")
def torch_module_float32(rng, bug):
    return _module(bug), {"x": rng.standard_normal((5, 4)).astype(np.float32)}, {"dtype": "float32"}


@twins(
    "torch_module_bfloat16",
    why="a module in bfloat16",
    bugs={
        "double": MODULE_BUGS["double"],
        "five-percent": {
            "why": "off by 5 %, a dozen roundings: seen, or named among what cannot be seen",
            "expect": "fail|pass|inconclusive",
            "says": "slightly-scaled|scale",
        },
    },
    truth="torch",
)
def torch_module_bfloat16(rng, bug):
    return _module(bug, "bfloat16"), {"x": rng.standard_normal((5, 4))}, {"dtype": "bfloat16"}


@twins("torch_module_float16", why="a module in float16", bugs={"double": MODULE_BUGS["double"]}, truth="torch")
def torch_module_float16(rng, bug):
    return _module(bug, "float16"), {"x": rng.standard_normal((5, 4))}, {"dtype": "float16"}


def _gelu_function(bug=""):
    import torch

    class Gelu(torch.autograd.Function):
        """Tanh gelu with its derivative by hand."""

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x**3)))

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            t = torch.tanh(0.7978845608 * (x + 0.044715 * x**3))
            d = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608 * (
                1 + (1 if bug == "three" else 3) * 0.044715 * x**2
            )
            if bug == "term":
                d = 0.5 * (1 + t)
            return g * d

    return Gelu


GELU_BUGS = {
    "term": ("the second term is missing: up to 22 % off", ("missing-term",)),
    "three": ("the 3 is missing: 2 % of the largest entry", ()),
}

for _dtype in ("float64", "float32", "float16", "bfloat16"):

    @twins(
        f"torch_function_{_dtype}",
        why=f"a custom gelu in {_dtype}",
        # 2 % is within the rounding of 1 - t^2 in bfloat16
        bugs={k: v for k, v in GELU_BUGS.items() if (k, _dtype) != ("three", "bfloat16")},
        truth="torch",
    )
    def torch_function(rng, bug, dtype=_dtype):
        return _gelu_function(bug), {"x": np.array([[-2.1, -0.4, 0.3], [0.9, 1.7, 2.4]])}, {"dtype": dtype}


@twins(
    "float16_storage_numpy",
    why="float16 in and out, float32 inside",
    bugs={"double": ("doubled", ("scale",))},
    tol=5e-3,
    step=1e-1,
)
def float16_storage(rng, bug):
    def forward(x):
        return np.tanh(x.astype(np.float32)).astype(x.dtype), x

    def backward(g, x):
        t = np.tanh(x.astype(np.float32))
        return ((2 if bug else 1) * g.astype(np.float32) * (1 - t * t)).astype(x.dtype)

    return (forward, backward), {"x": rng.standard_normal((3, 4)).astype(np.float16)}


@twins(
    "float32_relu_near_kink",
    why="float32 relu, entries 1e-4 from the kink: coarse steps cross it",
    bugs={"threshold": ("the mask is x > 1e-3", ())},
    truth=lambda p, u: {"x": u * (p["x"] > 0)},
)
def float32_relu(rng, bug):
    t = np.float32(1e-3 if bug else 0)

    def forward(x):
        return np.maximum(x, 0), x

    def backward(g, x):
        return g * (x > t)

    return (forward, backward), _f32({"x": np.array([1e-4, -1e-4, 0.7, -0.9])})


@twins(
    "float32_loss_shifted",
    why="a float32 loss + 100: differences keep three digits, the line integral also; another oracle decides",
    bugs={"double": ("doubled", ("scale",))},
    tol=1e-2,
    step=1e-1,
)
def float32_loss_shifted(rng, bug):
    def forward(x):
        return np.float32(100) + np.sum(np.sin(x)), x

    def backward(g, x):
        return np.asarray(g, dtype=np.float32) * np.cos(x) * np.float32(2 if bug else 1)

    return (forward, backward), _f32({"x": rng.standard_normal((2, 3))})
