"""torch.autograd.Function and torch.nn.Module, right and wrong."""

import numpy as np

from tests.corpus._items import item, twins

TORCH = {"truth": "torch"}


@twins("exp", why="the tutorial's Exp", bugs={"input": ("the saved input is used for the result", ())}, **TORCH)
def exp(rng, bug):
    import torch

    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, i):
            result = i.exp()
            ctx.save_for_backward(i if bug else result)
            return result

        @staticmethod
        def backward(ctx, grad_output):
            (result,) = ctx.saved_tensors
            return grad_output * result

    return Exp, {"i": rng.standard_normal((3, 4))}


@twins(
    "clamp", why="the tutorial's relu by clamp", bugs={"inverted": ("the mask is inverted", ("wrong-mask",))}, **TORCH
)
def clamp(rng, bug):
    import torch

    class MyReLU(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, grad_output):
            (x,) = ctx.saved_tensors
            grad_input = grad_output.clone()
            grad_input[(x > 0) if bug else (x < 0)] = 0
            return grad_input

    return MyReLU, {"x": rng.standard_normal((4, 5))}


@twins(
    "relu_in_place",
    why="grad_output.clone() before the mask",
    bugs={"in-place": ("grad_output[x < 0] = 0 on the caller's tensor", ("upstream-mutated",))},
    differs="contract",
    **TORCH,
)
def relu_in_place(rng, bug):
    import torch

    class Relu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            d = g if bug else g.clone()
            d[x < 0] = 0
            return d

    return Relu, {"x": rng.standard_normal((4, 5))}


@twins(
    "linear",
    why="the tutorial's LinearFunction with needs_input_grad",
    bugs={
        "bias-unreduced": {
            "why": "the bias gradient is not summed: the engine repairs it, which deserves a word",
            "expect": "fail|pass",
            "says": "unreduced|broadcast|engine|summed|reduc",
            "differs": "reason: torch sums it to the shape of the bias",
        },
        "weight": ("grad_weight transposed, hidden by the square", ("transposed",)),
        "needs": {
            "why": "needs_input_grad is read at the wrong index: right only if everything needs a gradient",
            "causes": ("needs-grad-subset",),
            "differs": "contract",
        },
        "mean": ("the bias gradient is a mean", ("scale",)),
    },
    **TORCH,
)
def linear(rng, bug):
    import torch

    class LinearFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, bias):
            ctx.save_for_backward(x, weight, bias)
            return x.mm(weight.t()) + bias

        @staticmethod
        def backward(ctx, g):
            x, weight, _bias = ctx.saved_tensors
            gx = gw = gb = None
            if ctx.needs_input_grad[0]:
                gx = g.mm(weight)
            if ctx.needs_input_grad[0 if bug == "needs" else 1]:
                gw = g.t().mm(x)
                if bug == "weight":
                    gw = gw.t()
            if ctx.needs_input_grad[2]:
                gb = {"bias-unreduced": g, "mean": g.mean(0)}.get(bug, g.sum(0))
            return gx, gw, gb

    return LinearFunction, {
        "x": rng.standard_normal((5, 3)),
        "weight": rng.standard_normal((3, 3)),
        "bias": rng.standard_normal(3),
    }


@twins(
    "layer_norm",
    why="layer norm by hand",
    bugs={
        "gamma": ("gamma multiplied after the Jacobian", ()),
        "term": ("the variance term is missing", ("missing-term",)),
    },
    **TORCH,
)
def layer_norm(rng, bug):
    import torch

    class LayerNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, gamma, beta):
            mu = x.mean(-1, keepdim=True)
            rstd = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
            xhat = (x - mu) * rstd
            ctx.save_for_backward(xhat, rstd, gamma)
            return xhat * gamma + beta

        @staticmethod
        def backward(ctx, g):
            xhat, rstd, gamma = ctx.saved_tensors
            d = g if bug == "gamma" else g * gamma
            dx = d - d.mean(-1, keepdim=True)
            if bug != "term":
                dx = dx - xhat * (d * xhat).mean(-1, keepdim=True)
            dx = dx * rstd
            if bug == "gamma":
                dx = dx * gamma
            return dx, (g * xhat).sum(0), g.sum(0)

    return LayerNorm, {
        "x": rng.standard_normal((4, 5)),
        "gamma": rng.uniform(0.5, 2, 5),
        "beta": rng.standard_normal(5),
    }


@twins(
    "scaled_dot",
    why="attention by hand",
    bugs={"scale": ("1 / sqrt(d) only in dq", ("scale",)), "v": ("a for its transpose in dv", ("transposed",))},
    **TORCH,
)
def scaled_dot(rng, bug):
    import torch

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx, q, k, v):
            a = torch.softmax(q @ k.T / q.shape[-1] ** 0.5, dim=-1)
            ctx.save_for_backward(q, k, v, a)
            return a @ v

        @staticmethod
        def backward(ctx, g):
            q, k, v, a = ctx.saved_tensors
            da = g @ v.T
            ds = a * (da - (da * a).sum(-1, keepdim=True))
            s = q.shape[-1] ** 0.5
            return ds @ k / s, ds.T @ q / (1 if bug == "scale" else s), (a if bug == "v" else a.T) @ g

    return Attention, {k: rng.standard_normal((4, 3)) for k in "qkv"}


@twins(
    "view_of_upstream",
    why="grad_output.reshape works for any layout",
    bugs={
        "view": {
            "why": "grad_output.view raises for a transposed upstream",
            "expect": "fail|error",
            "causes": ("layout",),
        },
        "storage": ("the storage of grad_output is read in order: silently wrong for strided ones", ("layout",)),
    },
    differs="contract",
    **TORCH,
)
def view_of_upstream(rng, bug):
    import torch

    class Flat(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            if bug == "view":
                flat = g.view(-1)
            elif bug == "storage":
                flat = torch.as_strided(g, (g.numel(),), (1,))
            else:
                flat = g.reshape(-1)
            return 2 * (flat.view(x.shape)) * x

    return Flat, {"x": rng.standard_normal((4, 5))}


@twins(
    "saved_changed",
    why="sigmoid keeps its result",
    bugs={
        "in-place": (
            "backward multiplies the kept result in place: a second backward is wrong",
            ("stale-state", "accumulated"),
        )
    },
    differs="contract",
    **TORCH,
)
def saved_changed(rng, bug):
    import torch

    class Sigmoid(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            s = torch.sigmoid(x)
            ctx.kept = s.clone()
            return s

        @staticmethod
        def backward(ctx, g):
            s = ctx.kept
            if bug:
                d = g * (1 - s) * s
                s.mul_(1 - s)
                return d
            return g * s * (1 - s)

    return Sigmoid, {"x": rng.standard_normal((3, 4))}


@twins(
    "gather_index_none",
    why="an integer index argument gets None",
    bugs={"assign": ("repeated indices overwrite one another", ("repeated-indices",))},
    **TORCH,
)
def gather_index(rng, bug):
    import torch

    class Gather(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, idx):
            ctx.save_for_backward(idx)
            ctx.shape = x.shape
            return x[idx]

        @staticmethod
        def backward(ctx, g):
            (idx,) = ctx.saved_tensors
            d = torch.zeros(ctx.shape, dtype=g.dtype)
            if bug:
                d[idx] = g
            else:
                d.index_add_(0, idx, g)
            return d, None

    return Gather, {"x": rng.standard_normal((5, 2)), "idx": np.array([2, 0, 2, 2, 4])}


@twins(
    "two_outputs",
    why="two outputs, both with an upstream",
    bugs={
        "second": ("the second upstream is forgotten", ("missing-term",)),
        "swapped": ("the two upstreams are exchanged", ()),
    },
    **TORCH,
)
def two_outputs(rng, bug):
    import torch

    class SinCos(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.sin(x), torch.cos(2 * x)

        @staticmethod
        def backward(ctx, gs, gc):
            (x,) = ctx.saved_tensors
            if bug == "swapped":
                gs, gc = gc, gs
            d = gs * torch.cos(x)
            return d if bug == "second" else d - 2 * gc * torch.sin(2 * x)

    return SinCos, {"x": rng.standard_normal((3, 4))}


@twins(
    "broadcast_multiply",
    why="x * s with s of shape (3, 1): summed by hand",
    bugs={"axis": ("summed over the wrong axis, hidden by the square", ("wrong-axis", "transposed"))},
    **TORCH,
)
def broadcast_multiply(rng, bug):
    import torch

    class Mul(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, s):
            ctx.save_for_backward(x, s)
            return x * s

        @staticmethod
        def backward(ctx, g):
            x, s = ctx.saved_tensors
            return g * s, (g * x).sum(0 if bug else 1).reshape(s.shape)

    return Mul, {"x": rng.standard_normal((4, 4)), "s": rng.standard_normal((4, 1))}


@twins(
    "module_with_function",
    why="an nn.Module around a custom swish",
    bugs={"beta": ("the gradient of beta misses a factor x", ())},
    **TORCH,
)
def module_with_function(rng, bug):
    import torch

    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, beta):
            s = torch.sigmoid(beta * x)
            ctx.save_for_backward(x, beta, s)
            return x * s

        @staticmethod
        def backward(ctx, g):
            x, beta, s = ctx.saved_tensors
            ds = s * (1 - s)
            return g * (s + beta * x * ds), (g * x * ds * (1 if bug else x)).sum()

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.fc = torch.nn.Linear(4, 3, dtype=torch.float64)
            self.beta = torch.nn.Parameter(torch.tensor(1.3, dtype=torch.float64))

        def forward(self, x):
            return Swish.apply(self.fc(x), self.beta)

    return Net(), {"x": rng.standard_normal((5, 4))}


@twins(
    "module_severed",
    why="a plain module",
    bugs={"detach": ("a detach() severs the first layer", ("detached", "zeroed-entries", "missing-term"))},
    **TORCH,
)
def module_severed(rng, bug):
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.a = torch.nn.Linear(4, 3, dtype=torch.float64)
            self.b = torch.nn.Linear(3, 2, dtype=torch.float64)

        def forward(self, x):
            h = torch.tanh(self.a(x))
            return self.b(h.detach() if bug else h)

    return Net(), {"x": rng.standard_normal((5, 4))}


@item(
    "module_dropout_train",
    expect="pass|inconclusive",
    why="nn.Dropout in training mode: right for the mask of the run",
    truth="reason: torch's own",
)
def module_dropout(rng):
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Dropout(0.5), torch.nn.Linear(6, 2)).double()
    return net, {"input": rng.standard_normal((5, 4))}


@item(
    "module_batchnorm_train",
    expect="pass|fail",
    why="nn.BatchNorm1d in training mode is right, but torch 2.13 on CPU reads a strided weight as contiguous: "
    "primal-layouts may say so",
    truth="torch",
)
def module_batchnorm(rng):
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Tanh()).double()
    return net, {"input": rng.standard_normal((6, 4))}


@item("module_embedding_lstm", why="embedding of repeated ids into an LSTM", truth="torch")
def module_embedding_lstm(rng):
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(2)
            self.emb = torch.nn.Embedding(6, 3, dtype=torch.float64)
            self.rnn = torch.nn.LSTM(3, 4, batch_first=True, dtype=torch.float64)

        def forward(self, ids):
            return self.rnn(self.emb(ids))[0]

    return Net(), {"ids": np.array([[1, 2, 1], [0, 5, 5]])}


@item("module_conv_pool", why="Conv2d, relu, max pool, flatten, linear", truth="torch")
def module_conv_pool(rng):
    import torch

    torch.manual_seed(3)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, (3, 2), stride=2, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(3 * 1 * 2, 2),
    ).double()
    return net, {"input": rng.standard_normal((2, 2, 5, 6))}


@twins(
    "numpy_inside",
    why="forward and backward in NumPy through .detach().numpy()",
    bugs={"sign": ("the wrong sign", ("sign", "scale"))},
    **TORCH,
)
def numpy_inside(rng, bug):
    import torch

    class Cbrt(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = np.cbrt(x.detach().numpy())
            ctx.y = y
            return torch.from_numpy(y)

        @staticmethod
        def backward(ctx, g):
            return (-1 if bug else 1) * g / torch.from_numpy(3 * ctx.y**2)

    return Cbrt, {"x": rng.uniform(0.5, 2.0, (3, 4))}


@twins(
    "state_on_class",
    why="saved on ctx",
    bugs={"class": ("saved on the class: the last forward wins", ("stale-state",))},
    differs="contract",
    **TORCH,
)
def state_on_class(rng, bug):
    import torch

    class Square(torch.autograd.Function):
        last = None

        @staticmethod
        def forward(ctx, x):
            Square.last = x
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            x = Square.last if bug else ctx.saved_tensors[0]
            return 2 * g * x

    return Square, {"x": rng.standard_normal((3, 4))}


@twins(
    "non_tensor_argument",
    why="a Python float and a flag among the arguments, given as constants",
    bugs={"alpha": ("alpha is missing on the left", ("scale", "missing-term"))},
    **TORCH,
)
def non_tensor_argument(rng, bug):
    import torch

    class Elu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, alpha):
            ctx.alpha = alpha
            y = torch.where(x > 0, x, alpha * (torch.exp(x) - 1))
            ctx.save_for_backward(x)
            return y

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            a = 1.0 if bug else ctx.alpha
            return g * torch.where(x > 0, torch.ones_like(x), a * torch.exp(x)), None

    return Elu, {"x": rng.standard_normal((3, 4))}, {"constants": {"alpha": 0.6}}
