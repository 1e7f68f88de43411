"""Linear algebra: products, solves, determinants."""

import numpy as np

from tests.corpus._items import twins


@twins("matmul", why="A @ B", bugs={"transpose": ("B for its transpose, hidden by the square", ("transposed",))})
def matmul(rng, bug):
    def forward(A, B):
        return A @ B, (A, B)

    def backward(dout, cache):
        A, B = cache
        return dout @ (B if bug else B.T), A.T @ dout

    return (forward, backward), {"A": rng.standard_normal((3, 4)), "B": rng.standard_normal((4, 4))}


@twins(
    "affine_rows",
    why="x @ W + b with samples in rows",
    bugs={
        "bias-mean": ("db is a mean over the batch", ("scale", "double-batch-mean")),
        "bias-first": ("db of the first sample only", ("dropped-samples",)),
        "dw-square": ("dW transposed, hidden by the square", ("transposed",)),
    },
)
def affine_rows(rng, bug):
    def forward(x, W, b):
        return x @ W + b, (x, W)

    def backward(dout, cache):
        x, W = cache
        db = {"bias-mean": dout.mean(axis=0), "bias-first": dout[0]}.get(bug, dout.sum(axis=0))
        dW = x.T @ dout
        return dout @ W.T, dW.T if bug == "dw-square" else dW, db

    return (forward, backward), {
        "x": rng.standard_normal((5, 3)),
        "W": rng.standard_normal((3, 3)),
        "b": rng.standard_normal(3),
    }


@twins(
    "affine_columns",
    why="W @ X + b with samples in columns, b of shape (out, 1), gradients as a dict",
    bugs={"axis": ("db summed over the wrong axis, shape repaired", ("wrong-axis",))},
)
def affine_columns(rng, bug):
    def forward(X, W, b):
        return W @ X + b, (X, W)

    def backward(dZ, cache):
        X, W = cache
        db = dZ.sum(axis=0).reshape(-1, 1) if bug else dZ.sum(axis=1, keepdims=True)
        return {"dX": W.T @ dZ, "dW": dZ @ X.T, "db": db}

    return (forward, backward), {
        "X": rng.standard_normal((3, 4)),
        "W": rng.standard_normal((4, 3)),
        "b": rng.standard_normal((4, 1)),
    }


@twins(
    "affine_images",
    why="CS231n: inputs of any shape are flattened to rows",
    bugs={"order": ("flattened in Fortran order on the way back", ("permuted", "layout"))},
)
def affine_images(rng, bug):
    def affine_forward(x, w, b):
        out = x.reshape(x.shape[0], -1).dot(w) + b
        cache = (x, w, b)
        return out, cache

    def affine_backward(dout, cache):
        x, w, _b = cache
        dx = dout.dot(w.T).reshape(x.shape, order="F" if bug else "C")
        dw = x.reshape(x.shape[0], -1).T.dot(dout)
        db = dout.sum(axis=0)
        return dx, dw, db

    return (affine_forward, affine_backward), {
        "x": rng.standard_normal((4, 2, 3)),
        "w": rng.standard_normal((6, 5)),
        "b": rng.standard_normal(5),
    }


@twins("batched_matmul", why="a stack of products", bugs={"swap": ("swapaxes(0, 1) instead of the last two", ())})
def batched_matmul(rng, bug):
    def forward(A, B):
        return A @ B, (A, B)

    def backward(dout, cache):
        A, B = cache
        dA = dout @ B.transpose(0, 2, 1)
        dB = (A.transpose(1, 0, 2) if bug else A.transpose(0, 2, 1)) @ dout
        return dA, dB

    return (forward, backward), {"A": rng.standard_normal((3, 3, 3)), "B": rng.standard_normal((3, 3, 3))}


@twins(
    "batched_matmul_shared",
    why="one matrix for a whole stack: its gradient is summed over the stack",
    bugs={"last": ("only the last of the stack", ("dropped-samples", "unreduced-broadcast"))},
)
def batched_matmul_shared(rng, bug):
    def forward(A, W):
        return A @ W, (A, W)

    def backward(dout, cache):
        A, W = cache
        each = np.swapaxes(A, -1, -2) @ dout
        return dout @ W.T, each[-1] if bug else each.sum(axis=0)

    return (forward, backward), {"A": rng.standard_normal((4, 3, 5)), "W": rng.standard_normal((5, 2))}


@twins(
    "einsum",
    why="bilinear form ni,ijk,nj->nk",
    bugs={"indices": ("i and j exchanged in dA", ("transposed", "permuted"))},
)
def einsum(rng, bug):
    def forward(x, A, y):
        return np.einsum("ni,ijk,nj->nk", x, A, y), (x, A, y)

    def backward(g, cache):
        x, A, y = cache
        dA = np.einsum("nk,nj,ni->jik" if bug else "nk,nj,ni->ijk", g, y, x)
        return np.einsum("nk,ijk,nj->ni", g, A, y), dA, np.einsum("nk,ijk,ni->nj", g, A, x)

    return (forward, backward), {
        "x": rng.standard_normal((5, 3)),
        "A": rng.standard_normal((3, 3, 2)),
        "y": rng.standard_normal((5, 3)),
    }


@twins("tensordot", why="contraction of two axes", bugs={"axes": ("the two contracted axes are exchanged", ())})
def tensordot(rng, bug):
    def forward(a, b):
        return np.tensordot(a, b, axes=([1, 2], [0, 1])), (a, b)

    def backward(g, cache):
        a, b = cache
        da = np.tensordot(g, b, axes=([1], [2]))
        return (da.transpose(0, 2, 1) if bug else da), np.tensordot(a, g, axes=([0], [0]))

    return (forward, backward), {"a": rng.standard_normal((2, 3, 3)), "b": rng.standard_normal((3, 3, 4))}


@twins("outer", why="a b^T", bugs={"swapped": ("dout @ a for da, hidden by equal lengths", ("transposed",))})
def outer(rng, bug):
    def forward(a, b):
        return np.outer(a, b), (a, b)

    def backward(g, cache):
        a, b = cache
        return (g.T @ b, g @ a) if bug else (g @ b, g.T @ a)

    return (forward, backward), {"a": rng.standard_normal(4), "b": rng.standard_normal(4)}


@twins("quadratic_form", why="x^T A x, A not symmetric", bugs={"symmetric": ("2 A x", ())})
def quadratic_form(rng, bug):
    def forward(x, A):
        return x @ A @ x, (x, A)

    def backward(g, cache):
        x, A = cache
        return g * (2 * A @ x if bug else (A + A.T) @ x), g * np.outer(x, x)

    return (forward, backward), {"x": rng.standard_normal(4), "A": rng.standard_normal((4, 4))}


def _well(rng, n=3):
    return np.eye(n) * 2 + 0.4 * rng.standard_normal((n, n))


@twins("inverse", why="-A^-T G A^-T", bugs={"transposes": ("-A^-1 G A^-1", ("transposed",))})
def inverse(rng, bug):
    def forward(A):
        inv = np.linalg.inv(A)
        return inv, inv

    def backward(g, inv):
        return -inv @ g @ inv if bug else -inv.T @ g @ inv.T

    return (forward, backward), {"A": _well(rng)}


@twins(
    "inverse_ill_conditioned",
    why="condition 1e6: the gradient loses digits honestly",
    bugs={"sign": ("plus", ("sign", "scale"))},
    tol=1e-5,
    truth=lambda p, u: {"A": -np.linalg.inv(p["A"]).T @ u @ np.linalg.inv(p["A"]).T},
)
def inverse_ill_conditioned(rng, bug):
    def forward(A):
        inv = np.linalg.inv(A)
        return inv, inv

    def backward(g, inv):
        return (1 if bug else -1) * inv.T @ g @ inv.T

    q, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    p, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return (forward, backward), {"A": q @ np.diag([1.0, 1e-3, 1e-6]) @ p}


@twins("solve", why="adjoint solve with A^T", bugs={"transpose": ("solved with A", ("transposed",))})
def solve(rng, bug):
    def forward(A, b):
        x = np.linalg.solve(A, b)
        return x, (A, x)

    def backward(g, cache):
        A, x = cache
        db = np.linalg.solve(A if bug else A.T, g)
        return -np.outer(db, x), db

    return (forward, backward), {"A": _well(rng), "b": rng.standard_normal(3)}


@twins(
    "det",
    why="det(A) A^-T",
    bugs={"transpose": ("det(A) A^-1", ("transposed",)), "logdet": ("A^-T", ("scale", "missing-term"))},
)
def det(rng, bug):
    def forward(A):
        return np.linalg.det(A), A

    def backward(g, A):
        inv = np.linalg.inv(A)
        return g * (1 if bug == "logdet" else np.linalg.det(A)) * (inv if bug == "transpose" else inv.T)

    return (forward, backward), {"A": _well(rng)}


@twins("logdet", why="slogdet, negative determinant", bugs={"transpose": ("A^-1", ("transposed",))})
def logdet(rng, bug):
    def forward(A):
        return np.linalg.slogdet(A)[1], A

    def backward(g, A):
        return g * (np.linalg.inv(A) if bug else np.linalg.inv(A).T)

    A = _well(rng)
    A[0] *= -1
    return (forward, backward), {"A": A}


@twins("trace", why="trace(A B): B^T", bugs={"transpose": ("B", ("transposed",))})
def trace(rng, bug):
    def forward(A, B):
        return np.trace(A @ B), (A, B)

    def backward(g, cache):
        A, B = cache
        return g * (B if bug else B.T), g * A.T

    return (forward, backward), {"A": rng.standard_normal((3, 3)), "B": rng.standard_normal((3, 3))}


@twins("matrix_cube", why="A @ A @ A: three places", bugs={"once": ("only the first factor", ("missing-term",))})
def matrix_cube(rng, bug):
    def forward(A):
        return A @ A @ A, A

    def backward(g, A):
        T = A.T
        first = g @ T @ T
        return first if bug else first + T @ g @ T + T @ T @ g

    return (forward, backward), {"A": rng.standard_normal((3, 3))}


@twins(
    "pairwise_squared_distances",
    why="both arguments, through broadcasting",
    bugs={"sign": ("the sign of dY", ("sign", "scale"))},
)
def pairwise(rng, bug):
    def forward(X, Y):
        d = X[:, None, :] - Y[None, :, :]
        return (d**2).sum(axis=2), d

    def backward(g, d):
        dd = 2 * g[:, :, None] * d
        return dd.sum(axis=1), (1 if bug else -1) * dd.sum(axis=0)

    return (forward, backward), {"X": rng.standard_normal((4, 3)), "Y": rng.standard_normal((5, 3))}


@twins("gram", why="X X^T: (G + G^T) X", bugs={"half": ("2 G X: right only for a symmetric upstream", ())})
def gram(rng, bug):
    def forward(X):
        return X @ X.T, X

    def backward(g, X):
        return 2 * g @ X if bug else (g + g.T) @ X

    return (forward, backward), {"X": rng.standard_normal((4, 3))}


@twins(
    "triangular",
    why="only the lower triangle is used",
    bugs={"mask": ("the upper triangle gets a gradient too", ("wrong-mask", "extra-term"))},
)
def triangular(rng, bug):
    def forward(L, x):
        return np.tril(L) @ x, (L, x)

    def backward(g, cache):
        L, x = cache
        dL = np.outer(g, x)
        return dL if bug else np.tril(dL), np.tril(L).T @ g

    return (forward, backward), {"L": rng.standard_normal((4, 4)), "x": rng.standard_normal(4)}


@twins(
    "least_squares",
    why="mean |X w - y|^2 + lambda |w|^2",
    bugs={"factor": ("lambda w without the 2", ("missing-term", "scale"))},
)
def least_squares(rng, bug):
    X, y, lam = rng.standard_normal((8, 3)), rng.standard_normal(8), 0.3

    def loss(w, X, y):
        r = X @ w - y
        value = np.mean(r**2) + lam * np.sum(w**2)
        return value, {"w": 2 * X.T @ r / len(y) + (1 if bug else 2) * lam * w}

    return loss, {"w": rng.standard_normal(3)}, {"constants": {"X": X, "y": y}}


@twins("cross_product", why="a x b", bugs={"order": ("the factors of da exchanged", ("sign", "scale"))})
def cross_product(rng, bug):
    def forward(a, b):
        return np.cross(a, b), (a, b)

    def backward(g, cache):
        a, b = cache
        return np.cross(g, b) if bug else np.cross(b, g), np.cross(g, a)

    return (forward, backward), {"a": rng.standard_normal((4, 3)), "b": rng.standard_normal((4, 3))}
