"""Shapes: reshape, transpose, gather and scatter with repeats, broadcasting of all kinds."""

import numpy as np

from tests.corpus._items import item, twins


@twins(
    "flatten",
    why="a view of the upstream handed back is right",
    bugs={"order": ("Fortran order", ("permuted", "layout"))},
)
def flatten(rng, bug):
    def forward(x):
        return x.reshape(x.shape[0], -1), x.shape

    def backward(dout, shape):
        return dout.reshape(shape, order="F" if bug else "C")

    return (forward, backward), {"x": rng.standard_normal((2, 3, 4))}


@item("identity", why="the upstream itself handed back is right")
def identity(rng):
    def forward(x):
        return x.copy(), None

    def backward(dout, cache):
        return dout

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@item("add_constant", why="the upstream itself handed back is right")
def add_constant(rng):
    def forward(x):
        return x + 3.0, None

    def backward(dout, cache):
        return dout

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@twins(
    "transpose",
    why="axes (2, 0, 1) and back by the inverse",
    bugs={"same": ("the same axes again", ("permuted", "transposed"))},
)
def transpose(rng, bug):
    axes = (2, 0, 1)

    def forward(x):
        return x.transpose(axes), None

    def backward(dout, cache):
        return dout.transpose(axes if bug else np.argsort(axes))

    return (forward, backward), {"x": rng.standard_normal((3, 3, 3))}


@twins("concatenate", why="split at 2 of 5", bugs={"split": ("both halves read from the start", ())})
def concatenate(rng, bug):
    def forward(a, b):
        return np.concatenate([a, b], axis=1), a.shape[1]

    def backward(dout, k):
        return dout[:, :k], (dout[:, : dout.shape[1] - k] if bug else dout[:, k:])

    return (forward, backward), {"a": rng.standard_normal((3, 2)), "b": rng.standard_normal((3, 3))}


@twins(
    "stack_columns", why="np.stack along the last axis", bugs={"axis": ("read from the first axis", ("transposed",))}
)
def stack_columns(rng, bug):
    def forward(a, b, c):
        return np.stack([a, b, c], axis=-1) ** 2, (a, b, c)

    def backward(dout, cache):
        parts = dout if bug else [dout[..., i] for i in range(3)]
        return tuple(2 * p * x for p, x in zip(parts, cache, strict=True))

    return (forward, backward), {k: rng.standard_normal(3) for k in "abc"}


@twins("pad", why="zeros around", bugs={"offset": ("cut from the corner, not from the middle", ())})
def pad(rng, bug):
    def forward(x):
        return np.pad(x, ((1, 2), (2, 1))), x.shape

    def backward(dout, shape):
        i, j = (0, 0) if bug else (1, 2)
        return dout[i : i + shape[0], j : j + shape[1]]

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@twins(
    "pad_reflect", why="reflected entries add up", bugs={"cut": ("the reflected parts are dropped", ("missing-term",))}
)
def pad_reflect(rng, bug):
    def forward(x):
        return np.pad(x, 2, mode="reflect"), len(x)

    def backward(dout, n):
        dx = dout[2 : 2 + n].copy()
        if not bug:
            dx[1:3] += dout[:2][::-1]
            dx[n - 3 : n - 1] += dout[-2:][::-1]
        return dx

    return (forward, backward), {"x": rng.standard_normal(6)}


@twins("roll", why="rolled back", bugs={"again": ("rolled the same way again", ("permuted",))})
def roll(rng, bug):
    def forward(x):
        return np.roll(x, 2, axis=1), None

    def backward(dout, cache):
        return np.roll(dout, 2 if bug else -2, axis=1)

    return (forward, backward), {"x": rng.standard_normal((2, 5))}


@twins("tile", why="the copies add up", bugs={"repeat": ("summed as if by np.repeat", ("permuted",))})
def tile(rng, bug):
    def forward(x):
        return np.tile(x, 3), len(x)

    def backward(dout, n):
        return dout.reshape(n, 3).sum(axis=1) if bug else dout.reshape(3, n).sum(axis=0)

    return (forward, backward), {"x": rng.standard_normal(4)}


IDX = np.array([2, 0, 2, 2, 4])


@twins(
    "gather_repeated",
    why="x[idx] with repeats: np.add.at",
    bugs={"assign": ("dx[idx] += g keeps only the last of the repeats", ("repeated-indices",))},
)
def gather_repeated(rng, bug):
    def forward(x, idx):
        return x[idx], (idx, x.shape)

    def backward(g, cache):
        idx, shape = cache
        dx = np.zeros(shape)
        if bug:
            dx[idx] += g
        else:
            np.add.at(dx, idx, g)
        return dx

    return (forward, backward), {"x": rng.standard_normal((5, 2))}, {"constants": {"idx": IDX}}


@twins(
    "embedding",
    why="integer ids are a constant; repeated ids add up",
    bugs={
        "assign": ("dW[ids] = g keeps one of the repeats", ("repeated-indices",)),
        "mean": ("repeated ids are averaged", ("repeated-indices", "scale")),
    },
)
def embedding(rng, bug):
    def word_embedding_forward(x, W):
        return W[x], (x, W.shape)

    def word_embedding_backward(dout, cache):
        x, shape = cache
        dW = np.zeros(shape)
        if bug == "assign":
            dW[x] = dout
        else:
            np.add.at(dW, x, dout)
        if bug == "mean":
            dW /= np.maximum(np.bincount(x.ravel(), minlength=shape[0]), 1)[:, None]
        return None, dW

    ids = np.array([[1, 3, 1], [0, 1, 3]])
    return (word_embedding_forward, word_embedding_backward), {"x": ids, "W": rng.standard_normal((5, 4))}


@twins(
    "scatter_add",
    why="out[idx] += x with repeats: the backward is a gather",
    bugs={"sorted": ("gathered in sorted order", ("permuted",))},
)
def scatter_add(rng, bug):
    def forward(x, idx):
        out = np.zeros((5, x.shape[1]), dtype=x.dtype)
        np.add.at(out, idx, x)
        return out, idx

    def backward(g, idx):
        return g[np.sort(idx)] if bug else g[idx]

    return (forward, backward), {"x": rng.standard_normal((5, 2))}, {"constants": {"idx": IDX}}


@twins(
    "scatter_last_wins",
    why="out[idx] = x with repeats: only the last one counts",
    bugs={"all": ("all of them get a gradient", ("repeated-indices",))},
)
def scatter_last_wins(rng, bug):
    def forward(x, idx):
        out = np.zeros((6, x.shape[1]), dtype=x.dtype)
        for k, i in enumerate(idx):
            out[i] = x[k]
        return out, idx

    def backward(g, idx):
        dx, seen = np.zeros((len(idx), g.shape[1])), set()
        for k in reversed(range(len(idx))):
            if bug or idx[k] not in seen:
                dx[k] = g[idx[k]]
            seen.add(idx[k])
        return dx

    return (forward, backward), {"x": rng.standard_normal((5, 2))}, {"constants": {"idx": IDX}}


@twins("take_along_axis", why="one column per row", bugs={"mask": ("the row index is off by one", ())})
def take_along_axis(rng, bug):
    def forward(x, y):
        return x[np.arange(len(y)), y], (y, x.shape)

    def backward(g, cache):
        y, shape = cache
        dx = np.zeros(shape)
        rows = np.arange(len(y))
        dx[np.roll(rows, 1) if bug else rows, y] = g
        return dx

    return (forward, backward), {"x": rng.standard_normal((4, 5))}, {"constants": {"y": np.array([0, 4, 4, 1])}}


@twins("slice_and_mask", why="x[1:, ::2] and a bool mask", bugs={"stride": ("the stride is forgotten", ())})
def slice_and_mask(rng, bug):
    def forward(x):
        return x[1:, ::2] ** 2, x

    def backward(g, x):
        dx = np.zeros_like(x)
        if bug:
            dx[1:, : g.shape[1]] = 2 * x[1:, : g.shape[1]] * g
        else:
            dx[1:, ::2] = 2 * x[1:, ::2] * g
        return dx

    return (forward, backward), {"x": rng.standard_normal((4, 5))}


@twins(
    "add_bias_row",
    why="(n, k) + (k,)",
    bugs={
        "unreduced": ("db has the shape of the batch", ("unreduced-broadcast",)),
        "one-row": ("shape repaired by taking a row", ("dropped-samples", "unreduced-broadcast")),
    },
)
def add_bias_row(rng, bug):
    def forward(x, b):
        return x + b, None

    def backward(g, cache):
        return g, {"unreduced": g.copy(), "one-row": g[0].copy()}.get(bug, g.sum(axis=0))

    return (forward, backward), {"x": rng.standard_normal((4, 3)), "b": rng.standard_normal(3)}


@twins(
    "bias_1n",
    why="(n, k) + (1, k): the gradient keeps (1, k)",
    bugs={"scalar": ("summed over everything and spread", ("wrong-axis", "unreduced-broadcast"))},
)
def bias_1n(rng, bug):
    def forward(x, b):
        return x * b, (x, b)

    def backward(g, cache):
        x, b = cache
        db = (g * x).sum(axis=0, keepdims=True)
        return g * b, np.full_like(b, db.sum()) if bug else db

    return (forward, backward), {"x": rng.standard_normal((4, 3)), "b": rng.standard_normal((1, 3))}


@twins("scalar_times_matrix", why="a 0-d scale", bugs={"mean": ("mean for sum", ("scale",))})
def scalar_times_matrix(rng, bug):
    def forward(s, A):
        return s * A, (s, A)

    def backward(g, cache):
        s, A = cache
        return (g * A).mean() if bug else (g * A).sum(), s * g

    return (forward, backward), {"s": np.array(0.7), "A": rng.standard_normal((3, 4))}


@twins(
    "row_and_column",
    why="(n, 1) * (1, m): both reduced",
    bugs={"exchanged": ("the axes are exchanged, hidden by n = m", ("wrong-axis", "transposed"))},
)
def row_and_column(rng, bug):
    def forward(c, r):
        return c * r, (c, r)

    def backward(g, cache):
        c, r = cache
        i, j = (0, 1) if bug else (1, 0)
        return (g * r).sum(axis=i).reshape(c.shape), (g * c).sum(axis=j).reshape(r.shape)

    return (forward, backward), {"c": rng.standard_normal((4, 1)), "r": rng.standard_normal((1, 4))}


@twins(
    "n_against_n1",
    why="(n,) - (n, 1) broadcasts to (n, n) as written, and its gradient says so",
    bugs={"intended": ("the gradient of the (n,) difference that was meant", ())},
)
def n_against_n1(rng, bug):
    def forward(p, y):
        d = p - y
        return np.mean(d**2), d

    def backward(g, d):
        if bug:
            r = np.diag(d)
            return g * 2 * r / len(r), (-g * 2 * r / len(r))[:, None]
        return g * 2 * d.sum(axis=0) / d.size, (-g * 2 * d.sum(axis=1) / d.size)[:, None]

    return (forward, backward), {"p": rng.standard_normal(4), "y": rng.standard_normal((4, 1))}


@twins("broadcast_3d", why="(2, 3, 4) * (3, 1)", bugs={"first": ("summed over axes 0 and 1", ("wrong-axis",))})
def broadcast_3d(rng, bug):
    def forward(x, s):
        return x * s, (x, s)

    def backward(g, cache):
        x, s = cache
        ds = (g * x).sum(axis=(0, 1)).reshape(s.shape) if bug else (g * x).sum(axis=(0, 2)).reshape(s.shape)
        return g * s, ds

    return (forward, backward), {"x": rng.standard_normal((2, 3, 3)), "s": rng.standard_normal((3, 1))}


@item("empty_constant_and_one_entry", why="arrays of one entry")
def one_entry(rng):
    def forward(x, w):
        return x @ w, (x, w)

    def backward(g, cache):
        x, w = cache
        return g @ w.T, x.T @ g

    return (forward, backward), {"x": np.array([[0.7]]), "w": np.array([[-1.3]])}


@twins(
    "upsample_nearest",
    why="each pixel fills a block: block sums",
    bugs={
        "mean": ("block means", ("scale",)),
        "corner": ("the corner of each block", ("missing-term", "dropped-samples")),
    },
)
def upsample_nearest(rng, bug):
    def forward(x):
        return x.repeat(2, axis=0).repeat(3, axis=1), x.shape

    def backward(g, shape):
        blocks = g.reshape(shape[0], 2, shape[1], 3)
        if bug == "corner":
            return blocks[:, 0, :, 0].copy()
        return blocks.mean(axis=(1, 3)) if bug else blocks.sum(axis=(1, 3))

    return (forward, backward), {"x": rng.standard_normal((3, 4))}


@twins(
    "diagonal",
    why="np.diag of a vector",
    bugs={"rows": ("row sums instead of the diagonal", ("wrong-axis", "extra-term"))},
)
def diagonal(rng, bug):
    def forward(v):
        return np.diag(v), None

    def backward(g, cache):
        return g.sum(axis=1) if bug else np.diag(g).copy()

    return (forward, backward), {"v": rng.standard_normal(4)}


@twins(
    "out_dict",
    why="two named outputs, one upstream each",
    bugs={"second": ("the second output is forgotten", ("missing-term",))},
)
def out_dict(rng, bug):
    def forward(x):
        return {"sine": np.sin(x), "square": x**2}, x

    def backward(g, x):
        return g["sine"] * np.cos(x) + (0 if bug else g["square"] * 2 * x)

    return (forward, backward), {"x": rng.standard_normal((3, 2))}
